def test_a_short_campaign(campaign) -> None:
    campaign("races.py --rounds 11")
