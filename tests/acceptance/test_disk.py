def test_a_short_campaign(campaign) -> None:
    campaign("disk.py --faults 10")
