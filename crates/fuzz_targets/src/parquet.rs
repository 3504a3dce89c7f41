use crate::input_file::with_file;
use datasets::pick_a_pic;
use domain::data::PickAPicSpec;

/// Rows that are read of one file. A footer may claim many more.
const MOST_ROWS: usize = 1000;

/// The input is a parquet file in the columns of Pick-a-Pic. The crate `parquet` may panic; our reader catches that.
pub fn parquet(data: &[u8]) -> bool {
    with_file(data, |path| {
        let Ok(rows) = pick_a_pic::open_files(&PickAPicSpec::default(), vec![path.to_owned()]) else {
            return false;
        };
        rows.take(MOST_ROWS).filter(Result::is_ok).count() > 0
    })
}
