//! A fence around work that may have been given to somebody else: while it is closed, no file gets its name.

use crate::Error;
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

type Fence = Rc<dyn Fn() -> bool>;

thread_local! {
    static FENCE: RefCell<Option<Fence>> = const { RefCell::new(None) };
}

/// Puts the previous fence back, also when the work panics.
struct Previous(Option<Fence>);

impl Drop for Previous {
    fn drop(&mut self) {
        FENCE.set(self.0.take());
    }
}

/// Runs `work`. The functions of this crate that write atomically on this thread ask `is_open` right before they give a
/// file or folder its name, when its content is complete, and fail if it returns false.
pub fn fenced<T>(is_open: impl Fn() -> bool + 'static, work: impl FnOnce() -> T) -> T {
    let _previous = Previous(FENCE.replace(Some(Rc::new(is_open))));
    work()
}

/// Fails if this thread's fence is closed.
pub(crate) fn check(file: &Path) -> Result<(), Error> {
    // Taken out of the cell: the fence may write files itself.
    let fence = FENCE.with_borrow(Clone::clone);
    if fence.is_none_or(|is_open| is_open()) {
        return Ok(());
    }
    Err(Error::at(file)(io::Error::other(
        "not written: another process has taken over the work that it belongs to",
    )))
}

#[cfg(test)]
mod tests {
    use super::fenced;
    use crate::{write_atomically, write_atomically_by, write_folder_atomically};
    use std::cell::Cell;
    use std::io::Write;
    use std::rc::Rc;

    #[test]
    fn behind_a_closed_fence_files_keep_their_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, made) = (folder.path().join("a"), folder.path().join("made"));
        let open = Rc::new(Cell::new(true));
        let asked = open.clone();
        fenced(
            move || asked.get(),
            || {
                write_atomically(&file, b"first").expect("written");
                // The fence closes while the content is written.
                let late = write_atomically_by(&file, |out| {
                    open.set(false);
                    out.write_all(b"second").map_err(crate::Error::at(&file))
                });
                assert!(late.is_err_and(|e| e.to_string().contains("taken over")));
                let refused = write_folder_atomically(&made, |_| Ok::<_, crate::Error>(()));
                assert!(refused.is_err());
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        write_atomically(&folder.path().join("b"), b"other thread").expect("written")
                    });
                });
            },
        );
        assert_eq!(std::fs::read(&file).expect("the file"), b"first");
        assert!(!made.exists());
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            2,
            "a temporary file is left"
        );
        write_atomically(&file, b"third").expect("the fence ends with the work");
    }
}
