"""From a spec and the catalogue to a plan: pure, touches no daemon and starts nothing."""
