use datasets::votes_elsewhere::read_votes;

/// The input is a file of votes by another tool. Every row is a vote, or left out with a reason.
pub fn votes_elsewhere(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let Ok(read) = read_votes(text) else { return false };
    assert!(read.dropped.iter().all(|(row, reason)| *row >= 1 && !reason.is_empty()), "{read:?}");
    !read.votes.is_empty()
}
