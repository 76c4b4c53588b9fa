"""What somebody who waits is told: how far a run is, and how long it will take."""
