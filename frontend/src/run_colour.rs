//! The colour of a run: the same on every page, because it follows from the run's id.

#[cfg(feature = "ssr")]
use domain::id::RunId;

/// Colours of the palette: `--run-0` to `--run-11` of the stylesheet.
const COLOURS: u8 = 12;

#[cfg(feature = "ssr")]
/// The number of a run's colour: a hash of its id (FNV-1a).
pub(crate) fn colour(run: RunId) -> u8 {
    let hash = run
        .0
        .as_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    (hash % u32::from(COLOURS)) as u8
}

/// The colour of the nth line of a run in one chart. The first is the run's own; the next ones are far from it in hue.
pub(crate) fn of_line(colour: u8, line: usize) -> u8 {
    ((usize::from(colour) + line * 5) % usize::from(COLOURS)) as u8
}

/// For each run how many runs before it have its colour: their lines differ in their dashes.
pub(crate) fn dashes(colours: &[u8]) -> Vec<usize> {
    (0..colours.len()).map(|n| colours[..n].iter().filter(|colour| **colour == colours[n]).count()).collect()
}

#[cfg(all(test, feature = "ssr"))]
mod tests {
    use super::{COLOURS, colour, dashes, of_line};
    use domain::id::RunId;

    fn id(n: u128) -> RunId {
        format!("{n:032x}").parse().expect("an id")
    }

    #[test]
    fn colours_of_runs_are_spread_and_stable() {
        let colours: Vec<u8> = (0..1200).map(|n| colour(id(n * 7919))).collect();
        for wanted in 0..COLOURS {
            let count = colours.iter().filter(|colour| **colour == wanted).count();
            assert!((60..140).contains(&count), "{wanted}: {count}");
        }
        assert_eq!(colours[5], colour(id(5 * 7919)));
        let lines: Vec<u8> = (0..4).map(|line| of_line(11, line)).collect();
        assert_eq!(lines, [11, 4, 9, 2]);
        assert_eq!(dashes(&[3, 1, 3, 3, 1]), [0, 0, 1, 2, 1]);
    }
}
