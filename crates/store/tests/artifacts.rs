//! The artifact store on a real folder: complete files, absent files, keys that cannot leave the folder.

use store::{ArtifactError, Artifacts};

fn names(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_artifact_can_be_read_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(folder.path().join("new/root")).unwrap();
    assert_eq!(artifacts.get("images/a.png").await.unwrap(), None);
    for bytes in [b"first".to_vec(), Vec::new(), vec![0, 255, 10, 13]] {
        artifacts.put("images/a.png", bytes.clone()).await.unwrap();
        assert_eq!(artifacts.get("images/a.png").await.unwrap(), Some(bytes.clone()));
        assert_eq!(std::fs::read(artifacts.path("images/a.png").unwrap()).unwrap(), bytes);
    }
    // No temporary file is left.
    assert_eq!(names(&folder.path().join("new/root/images")), ["a.png"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_simultaneous_puts_is_complete() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(folder.path()).unwrap();
    let puts: Vec<_> = (0..8_u8)
        .map(|n| {
            let artifacts = artifacts.clone();
            tokio::spawn(async move { artifacts.put("deep/down/x", vec![n; 100_000]).await })
        })
        .collect();
    for put in puts {
        put.await.unwrap().unwrap();
    }
    let bytes = artifacts.get("deep/down/x").await.unwrap().unwrap();
    assert_eq!(bytes.len(), 100_000);
    assert!(bytes.iter().all(|&b| b == bytes[0]));
    assert_eq!(names(&folder.path().join("deep/down")), ["x"]);
}

#[tokio::test]
async fn a_key_cannot_leave_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(folder.path().join("root")).unwrap();
    let long = "a/".repeat(600) + "a";
    for key in [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../x",
        "a/../b",
        "a//b",
        "a/",
        ".hidden",
        "a\\b",
        "a b",
        "a\0",
        "ä",
        &long,
    ] {
        assert!(matches!(artifacts.path(key), Err(ArtifactError::Key(_))), "{key:?}");
        assert!(matches!(artifacts.put(key, vec![1]).await, Err(ArtifactError::Key(_))), "{key:?}");
        assert!(matches!(artifacts.get(key).await, Err(ArtifactError::Key(_))), "{key:?}");
    }
    assert_eq!(names(folder.path()), ["root"]);
    assert_eq!(names(&folder.path().join("root")), Vec::<String>::new());
}

#[tokio::test]
async fn a_failed_put_names_the_file_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::open(folder.path()).unwrap();
    artifacts.put("taken/by-a-folder/x", vec![1]).await.unwrap();
    let refused = artifacts.put("taken/by-a-folder", vec![2]).await.unwrap_err();
    assert!(refused.to_string().contains("by-a-folder"), "{refused}");
    assert_eq!(names(&folder.path().join("taken")), ["by-a-folder"]);
    let refused = artifacts.put("taken/by-a-folder/x/y", vec![2]).await.unwrap_err();
    assert!(matches!(refused, ArtifactError::Io { .. }), "{refused}");
}
