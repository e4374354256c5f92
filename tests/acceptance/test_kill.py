def test_a_short_campaign(campaign) -> None:
    campaign("kill.py --kills 4 --seed 9")
