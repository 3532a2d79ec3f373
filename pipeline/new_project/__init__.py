"""The files of a project of one's own, and a first look at its images."""
