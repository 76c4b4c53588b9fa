"""One call format a file, and the scanner that most of them stand on."""
