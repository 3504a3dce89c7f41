use datasets::pick_a_pic::snappy::decompress;

/// Bytes of a page. Claims of more are not tried.
const LARGEST: usize = 1 << 20;

/// The input is a page compressed by snappy. Our decoder and the crate `snap` agree on whether it is valid and on its
/// content.
pub fn snappy(data: &[u8]) -> bool {
    let Ok(length) = snap::raw::decompress_len(data) else { return false };
    if length > LARGEST {
        return false;
    }
    let expected = snap::raw::Decoder::new().decompress_vec(data);
    let mut page = vec![0; length];
    match (decompress(&mut &*data, &mut page), expected) {
        (Ok(()), Ok(expected)) => {
            assert_eq!(page, expected);
            true
        }
        (Err(_), Err(_)) => false,
        (ours, theirs) => panic!("ours: {ours:?}, snap: {:?}", theirs.map(|page| page.len())),
    }
}
