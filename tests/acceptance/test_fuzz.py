def test_a_short_campaign(campaign) -> None:
    campaign("fuzz.py --inputs 3000")
