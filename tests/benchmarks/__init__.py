"""What is claimed about speed: each module measures one thing beside a peer, and can be run alone."""
