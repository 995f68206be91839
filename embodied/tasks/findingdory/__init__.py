"""Questions about a day that was lived in a home: the 60 templates of FindingDory, their goals and their scores."""
