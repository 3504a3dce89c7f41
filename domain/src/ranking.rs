//! Ratings, win rates and their intervals from tallies of votes: pure arithmetic.
