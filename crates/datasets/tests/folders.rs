//! Reading of plain folders and tar shards.

use datasets::decode::decode_pair;
use datasets::error::ReadError;
use datasets::images::loser_name;
use datasets::listing::{rows_of, spec_of_folder};
use datasets::pair::PreferencePair;
use datasets::rows::Pairs;
use domain::data::{DataSpec, DrawnLosersSpec, FolderSpec, ImagesSpec};
use domain::dataset::{ReadReport, Reason};
use image::{ImageFormat, Rgb, RgbImage};
use std::fs;
use std::io::Cursor;
use std::path::Path;

fn spec(folder: &Path) -> FolderSpec {
    FolderSpec { folder: folder.to_string_lossy().into_owned(), ..FolderSpec::default() }
}

fn read(spec: &DataSpec) -> Result<(Vec<PreferencePair>, ReadReport), ReadError> {
    let mut pairs = Pairs::open(spec)?.expect("a set of files");
    let read = pairs.by_ref().collect::<Result<Vec<_>, _>>()?;
    Ok((read, pairs.report().clone()))
}

fn loser(pair: &PreferencePair) -> &[u8] {
    pair.loser.as_deref().expect("a loser")
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let file = folder.join(name);
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(file, bytes).expect("written");
}

#[test]
fn a_list_with_unusable_rows_gives_the_other_pairs() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("set");
    write(&folder, "a.png", b"winner");
    write(&folder, "deep/b.png", b"loser");
    write(scratch.path(), "secret.png", b"secret");
    let lines = [
        r#"{"prompt": "a cat", "winner": "a.png", "loser": "deep/b.png", "annotator": 3}"#,
        "",
        r#"{"prompt": "a dog", "winner": "../secret.png", "loser": "a.png"}"#,
        r#"{"prompt": "a dog", "winner": "/etc/hostname", "loser": "a.png"}"#,
        r#"{"prompt": "a dog", "winner": "a.png", "loser": "gone.png"}"#,
        r#"{"prompt": " ", "winner": "a.png", "loser": "deep/b.png"}"#,
        r#"{"prompt": 5}"#,
        "not JSON",
        r#"{"prompt": "ein Hund 🐕", "winner": "deep/b.png", "loser": "./a.png"}"#,
    ];
    write(&folder, "pairs.jsonl", lines.join("\n").as_bytes());
    let (pairs, report) = read(&DataSpec::Folder(spec(&folder))).expect("readable");
    assert_eq!(pairs.iter().map(|p| p.source.row).collect::<Vec<_>>(), [0, 8]);
    assert_eq!((&*pairs[0].winner, loser(&pairs[0])), (&b"winner"[..], &b"loser"[..]));
    assert_eq!(pairs[1].prompt, "ein Hund 🐕");
    assert_eq!(report.dropped[&Reason::MissingImage], 3);
    assert_eq!(report.dropped[&Reason::WrongType], 1);
    assert_eq!(report.dropped[&Reason::Unreadable], 1);
    assert_eq!(report.dropped[&Reason::NoPrompt], 1);
    let escape = &report.named[0];
    assert!(escape.detail.contains("leads out of the folder") && escape.source.row == 2, "{escape}");
}

#[test]
fn ranked_lists_become_pairs_that_hold_each_image_once() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    for name in ["a", "b", "c", "d"] {
        write(folder, &format!("{name}.png"), name.as_bytes());
    }
    let lines = [
        r#"{"prompt": "a cat", "ranked": ["a.png", "b.png", "c.png", "d.png"]}"#,
        r#"{"prompt": "the best of four", "ranked": ["d.png", ["a.png", "b.png", "c.png"]]}"#,
        r#"{"prompt": "three", "ranked": ["a.png", "b.png", "c.png"]}"#,
        r#"{"prompt": "one rank", "ranked": [["a.png", "b.png"]]}"#,
        r#"{"prompt": "gone", "ranked": ["a.png", "gone.png"]}"#,
        r#"{"prompt": "out", "ranked": ["a.png", "../b.png"]}"#,
        r#"{"prompt": "no list", "ranked": "a.png"}"#,
        r#"{"prompt": " ", "ranked": ["a.png", "b.png"]}"#,
        r#"{"prompt": "a pair", "winner": "a.png", "loser": "b.png"}"#,
    ];
    write(folder, "pairs.jsonl", lines.join("\n").as_bytes());
    let (pairs, report) = read(&DataSpec::Folder(spec(folder))).expect("readable");
    type Row<'a> = (u64, &'a [u8], &'a [u8], Option<[u32; 2]>);
    let found: Vec<Row> = pairs
        .iter()
        .map(|pair| (pair.source.row, &*pair.winner, loser(pair), pair.list.map(|place| place.ranks)))
        .collect();
    let expected: [Row; 5] = [
        (0, b"a", b"d", Some([0, 3])),
        (0, b"b", b"c", Some([1, 2])),
        (1, b"d", b"c", Some([0, 1])),
        (1, b"a", b"b", Some([1, 1])),
        (8, b"a", b"b", None),
    ];
    assert_eq!(found, expected);
    assert!(pairs.iter().filter_map(|pair| pair.list).all(|place| place.pairs == 2));
    assert_eq!(report.dropped[&Reason::WrongType], 3);
    assert_eq!(report.dropped[&Reason::MissingImage], 2);
    assert_eq!(report.dropped[&Reason::NoPrompt], 1);
    let odd = report.named.iter().find(|dropped| dropped.source.row == 2).expect("the list of three");
    assert!(odd.detail.contains("has 3 images") && odd.detail.contains("leave one out"), "{odd}");
}

#[test]
fn the_two_folders_of_kohya_are_paired_by_file_stem() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    write(folder, "w/1.png", b"w1");
    write(folder, "l/1.jpg", b"l1");
    write(folder, "w/1.txt", b"a cat\n");
    write(folder, "w/b.2.png", b"w2");
    write(folder, "l/b.2.png", b"l2");
    write(folder, "l/b.2.txt", "ein Käse".as_bytes());
    write(folder, "w/3.png", b"w3");
    write(folder, "w/3.txt", b"alone");
    write(folder, "w/4.png", b"w4");
    write(folder, "l/4.png", b"l4");
    let (pairs, report) = read(&DataSpec::Folder(spec(folder))).expect("readable");
    let found: Vec<_> = pairs.iter().map(|p| (p.prompt.as_str(), &*p.winner, loser(p))).collect();
    assert_eq!(found, [("a cat", &b"w1"[..], &b"l1"[..]), ("ein Käse", b"w2", b"l2")]);
    assert_eq!(report.dropped[&Reason::MissingImage], 1);
    assert_eq!(report.dropped[&Reason::NoPrompt], 1);

    let nothing = tempfile::tempdir().expect("a folder");
    let problem = read(&DataSpec::Folder(spec(nothing.path()))).expect_err("nothing there").to_string();
    assert!(problem.contains("pairs.jsonl") && problem.contains("w and l"), "{problem}");
}

fn images(folder: &Path) -> ImagesSpec {
    ImagesSpec { folder: folder.to_string_lossy().into_owned(), ..ImagesSpec::default() }
}

#[test]
fn captioned_images_are_read_in_all_three_layouts() {
    let scratch = tempfile::tempdir().expect("a folder");
    let expected = [("a cat", &b"1"[..]), ("a dog, \"sitting\"", b"2")];
    let lists: [(&str, &[(&str, &str)]); 4] = [
        (
            "jsonl",
            &[(
                "metadata.jsonl",
                concat!(
                    "\u{feff}{\"file_name\": \"1.png\", \"text\": \"a cat\", \"n\": 1}\n\n",
                    "{\"file_name\": \"deep/2.jpg\", \"caption\": \"a dog, \\\"sitting\\\"\"}\n",
                    "{\"file_name\": \"gone.png\", \"text\": \"x\"}\n{\"file_name\": \"../1.png\", \"text\": \"x\"}\n",
                ),
            )],
        ),
        (
            "split",
            &[
                (
                    "train/metadata.jsonl",
                    concat!(
                        "{\"file_name\": \"../1.png\", \"text\": \"x\"}\n{\"file_name\": \"/1.png\", \"text\": \"x\"}\n",
                        "{\"file_name\": \"1.png\", \"text\": \"a cat\"}\n",
                        "{\"file_name\": \"deep/2.jpg\", \"text\": \"a dog, \\\"sitting\\\"\"}\n",
                    ),
                ),
                ("train/1.png", "1"),
                ("train/deep/2.jpg", "2"),
            ],
        ),
        (
            "csv",
            &[(
                "metadata.csv",
                "text,file_name\na cat,1.png\n\"a dog, \"\"sitting\"\"\",deep/2.jpg\nx,gone.png\nx,/etc/hostname\n",
            )],
        ),
        (
            "sidecar",
            &[
                ("1.txt", "\u{feff}a cat\r\n"),
                ("deep/2.caption", "a dog, \"sitting\""),
                ("0.png", "no caption"),
                ("deep/3.png", "3"),
                ("deep/3.txt", " "),
            ],
        ),
    ];
    for (name, files) in lists {
        let folder = scratch.path().join(name);
        write(&folder, "1.png", b"1");
        write(&folder, "deep/2.jpg", b"2");
        files.iter().for_each(|(file, text)| write(&folder, file, text.as_bytes()));
        let spec = DataSpec::Images(images(&folder));
        assert_eq!(spec_of_folder(&folder), spec, "{name}");
        let (pairs, report) = read(&spec).expect("readable");
        let found: Vec<_> = pairs.iter().map(|pair| (pair.prompt.as_str(), &*pair.winner)).collect();
        assert_eq!(found, expected, "{name}");
        assert!(pairs.iter().all(|pair| pair.loser.is_none()));
        assert_eq!((report.rows, report.pairs), (4, 2), "{name}: {report}");
        assert_eq!(rows_of(&spec), Some(4), "{name}");
    }
}

fn image(format: ImageFormat, level: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let image = RgbImage::from_pixel(8, 8, Rgb([level, 100, 200]));
    image.write_to(&mut Cursor::new(&mut bytes), format).expect("encoded");
    bytes
}

/// Every source, with every format that is decoded and endings in any case; formats that are not are rows with a reason.
#[test]
fn images_of_every_format_are_rows_of_every_source() {
    let scratch = tempfile::tempdir().expect("a folder");
    let formats = [
        ("png", image(ImageFormat::Png, 0)),
        ("JPG", image(ImageFormat::Jpeg, 0)),
        ("webp", image(ImageFormat::WebP, 0)),
        ("GIF", image(ImageFormat::Gif, 0)),
        ("bmp", image(ImageFormat::Bmp, 0)),
        ("Tiff", image(ImageFormat::Tiff, 0)),
        ("ppm", image(ImageFormat::Pnm, 0)),
        ("avif", b"\0\0\0\x1Cftypavif\0\0\0\0".to_vec()),
    ];
    let [two, listed, captioned, tar, liked] =
        ["two", "listed", "captioned", "tar", "liked"].map(|name| scratch.path().join(name));
    let (mut pairs, mut likes, mut members) = (String::new(), String::new(), Vec::new());
    for (i, (ending, bytes)) in formats.iter().enumerate() {
        let name = format!("{i}.{ending}");
        for folder in ["w", "l"] {
            write(&two, &format!("{folder}/{name}"), bytes);
        }
        write(&two, &format!("w/{i}.TXT"), b"a cat\r\n");
        for folder in [&listed, &captioned, &liked] {
            write(folder, &name, bytes);
        }
        pairs += &format!("{{\"prompt\": \"a cat\", \"winner\": \"{name}\", \"loser\": \"{name}\"}}\r\n");
        likes += &format!("{{\"prompt\": \"{i}\", \"image\": \"{name}\", \"liked\": 1}}\n");
        likes += &format!("{{\"prompt\": \"{i}\", \"image\": \"{name}\", \"liked\": \"False\"}}\n");
        write(&captioned, &format!("{i}.json"), br#"{"score": NaN, "caption": "a cat"}"#);
        members.push((format!("{i}.winner.{ending}"), bytes.clone()));
        members.push((format!("{i}.loser.{ending}"), bytes.clone()));
        members.push((format!("{i}.txt"), b"\xEF\xBB\xBFa cat".to_vec()));
    }
    write(&listed, "pairs.jsonl", pairs.as_bytes());
    write(&liked, "likes.jsonl", likes.as_bytes());
    let members: Vec<_> = members.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    write(&tar, "0.tar", &shard(&members));
    for source in [
        DataSpec::Folder(spec(&two)),
        DataSpec::Folder(spec(&listed)),
        DataSpec::Images(images(&captioned)),
        DataSpec::WebDataset(spec(&tar)),
        DataSpec::Likes(spec(&liked)),
    ] {
        let (pairs, report) = read(&source).expect("readable");
        assert_eq!((pairs.len(), report.rows, report.left_out.len()), (8, 8, 0), "{source:?}: {report:?}");
        let decoded: Vec<_> = pairs.iter().map(decode_pair).collect();
        for (pair, decoded) in pairs.iter().zip(&decoded).filter(|(_, decoded)| decoded.is_err()) {
            let dropped = decoded.as_ref().expect_err("not decoded");
            assert!(pair.winner.starts_with(b"\0\0\0\x1Cftypavif"), "{source:?}: {dropped}");
            assert!(dropped.to_string().contains("is an AVIF file, which is not read"), "{dropped}");
        }
        assert_eq!(decoded.iter().filter(|decoded| decoded.is_ok()).count(), 7, "{source:?}");
        assert!(!pairs.iter().any(|pair| pair.prompt.contains(['\u{feff}', '\r'])), "{source:?}");
    }
}

/// A byte order mark at the beginning of every text that is read.
#[test]
fn byte_order_marks_are_no_part_of_a_text() {
    let scratch = tempfile::tempdir().expect("a folder");
    let [two, listed, captioned, liked, table, tar] =
        ["two", "listed", "captioned", "liked", "table", "tar"].map(|name| scratch.path().join(name));
    for (folder, name) in
        [(&two, "w/a.png"), (&two, "l/a.png"), (&listed, "a.png"), (&captioned, "a.png"), (&liked, "a.png")]
    {
        write(folder, name, b"image");
    }
    write(&table, "a.png", b"image");
    write(&two, "w/a.txt", "\u{feff}a red circle".as_bytes());
    let wide: Vec<u8> = "\u{feff}a red circle".encode_utf16().flat_map(u16::to_le_bytes).collect();
    write(&captioned, "a.txt", &wide);
    let list = |line: &str| format!("\u{feff}{line}\r\n").into_bytes();
    write(
        &listed,
        "pairs.jsonl",
        &list(r#"{"prompt": "a red circle", "winner": "a.png", "loser": "a.png"}"#),
    );
    let likes = r#"{"prompt": "a red circle", "image": "a.png", "liked": true}
        {"prompt": "a red circle", "image": "a.png", "liked": 0}"#;
    write(&liked, "likes.jsonl", &list(&likes.replace("\n", "\r\n").replace("        {", "{")));
    write(&table, "metadata.csv", &list("file_name,text\r\na.png,a red circle"));
    let sample = [
        ("1.winner.png", &b"w"[..]),
        ("1.loser.png", b"l"),
        ("1.json", b"\xEF\xBB\xBF{\"text\": \"a red circle\", \"aesthetic\": -Infinity}"),
    ];
    write(&tar, "0.tar", &shard(&sample));
    for source in [
        DataSpec::Folder(spec(&two)),
        DataSpec::Folder(spec(&listed)),
        DataSpec::Images(images(&captioned)),
        DataSpec::Images(images(&table)),
        DataSpec::Likes(spec(&liked)),
        DataSpec::WebDataset(spec(&tar)),
    ] {
        let (pairs, report) = read(&source).expect("readable");
        let prompts: Vec<_> = pairs.iter().map(|pair| pair.prompt.as_str()).collect();
        assert_eq!((prompts, report.rows), (vec!["a red circle"], 1), "{source:?}: {report:?}");
    }
    write(
        &listed,
        "pairs.jsonl",
        &"\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>(),
    );
    let problem = read(&DataSpec::Folder(spec(&listed))).expect_err("another encoding").to_string();
    assert!(problem.contains("UTF-16: save it as UTF-8"), "{problem}");
}

/// What a zip of another system adds, and files that belong to nothing, stand in the account and are no rows.
#[test]
fn files_that_are_no_part_of_a_set_are_named() {
    let scratch = tempfile::tempdir().expect("a folder");
    let [two, captioned, tar] = ["two", "captioned", "tar"].map(|name| scratch.path().join(name));
    for folder in ["w", "l"] {
        write(&two, &format!("{folder}/1.png"), b"image");
        write(&two, &format!("{folder}/._1.png"), b"attributes");
        write(&two, &format!("{folder}/Thumbs.db"), b"settings");
    }
    write(&two, "w/1.txt", b"a cat");
    write(&two, "w/notes.docx", b"notes");
    write(&two, "l/2.png", b"alone");
    let (pairs, report) = read(&DataSpec::Folder(spec(&two))).expect("readable");
    assert_eq!((pairs.len(), report.rows), (1, 1), "{report:?}");
    let told = report.left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for expected in [
        "2 files (first: w/._1.png): left out: macOS",
        "2 files (first: w/Thumbs.db): left out: Windows",
        "w/notes.docx: left out: it is neither an image nor a caption",
        "l/2.png: left out: there is no image of the same name in w",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(report.to_string(), "1 examples of 1 rows, 6 files left out");

    for name in ["1.PNG", "__MACOSX/._1.PNG", ".DS_Store", "deep/._x.png", "2.zip"] {
        write(&captioned, name, b"image");
    }
    write(&captioned, "1.TXT", b"a cat\r\n");
    write(&captioned, "README.txt", b"about the set");
    let set = DataSpec::Images(images(&captioned));
    let (pairs, report) = read(&set).expect("readable");
    assert_eq!((pairs[0].prompt.as_str(), report.rows, rows_of(&set)), ("a cat", 1, Some(1)), "{report:?}");
    assert_eq!(report.left_out.iter().map(|of| of.files).sum::<u64>(), 5, "{report:?}");
    assert!(report.explained().contains("README.txt: left out: there is no image"), "{}", report.explained());

    let members = [
        ("__MACOSX/set/._0001.winner.jpg", &b"attributes"[..]),
        ("set/0001.winner.jpg", b"w"),
        ("set/0001.loser.jpg", b"l"),
        ("set/0001.txt", b"a cat"),
        ("set/LICENSE", b"free"),
    ];
    write(&tar, "train-0000.tar", &shard(&members));
    write(&tar, "val-0000.tar", &shard(&members));
    write(&tar, "train-0001.tar.gz", b"packed");
    let (pairs, report) = read(&DataSpec::WebDataset(spec(&tar))).expect("readable");
    assert_eq!((pairs.len(), report.rows), (1, 1), "{report:?}");
    let told = report.left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    for expected in [
        "val-0000.tar: left out: it is of the split validation",
        "train-0001.tar.gz: left out: it is a compressed archive: unpack it to .tar",
        "train-0000.tar/__MACOSX/set/._0001.winner.jpg: left out: macOS",
        "train-0000.tar/set/LICENSE: left out: its name has no ending",
    ] {
        assert!(told.contains(expected), "{told}");
    }
}

#[test]
fn captioned_images_of_another_split_are_left_out() {
    let scratch = tempfile::tempdir().expect("a folder");
    for split in ["train", "val"] {
        write(scratch.path(), &format!("{split}/1.png"), b"image");
        write(scratch.path(), &format!("{split}/1.txt"), split.as_bytes());
    }
    let set = DataSpec::Images(images(scratch.path()));
    let (pairs, report) = read(&set).expect("readable");
    assert_eq!((pairs[0].prompt.as_str(), report.rows, rows_of(&set)), ("train", 1, Some(1)));
    assert_eq!(
        report.left_out[0].to_string(),
        "2 files (first: val/1.png): left out: it is of the split validation"
    );
}

/// Unknown keys may hold any value. A missing key and a value of the wrong type are different reasons.
#[test]
fn rows_of_lists_are_dropped_for_what_is_wrong_with_them() {
    let scratch = tempfile::tempdir().expect("a folder");
    write(scratch.path(), "a.png", b"image");
    let lines = [
        r#"{"prompt": "a cat", "caption": "both", "winner": "a.png", "loser": "a.png", "score": NaN, "p": [-Infinity]}"#,
        r#"{"tag": "no prompt", "winner": "a.png", "loser": "a.png"}"#,
        r#"{"prompt": "a cat", "winner": "a.png"}"#,
        r#"{"prompt": ["a cat"], "winner": "a.png", "loser": "a.png"}"#,
    ];
    write(scratch.path(), "pairs.jsonl", lines.join("\r\n").as_bytes());
    let (pairs, report) = read(&DataSpec::Folder(spec(scratch.path()))).expect("readable");
    assert_eq!((pairs.len(), pairs[0].prompt.as_str()), (1, "a cat"));
    let told: Vec<String> = report.named.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "pairs.jsonl row 2: no prompt: has no prompt or caption or text",
            "pairs.jsonl row 3: missing image: has no loser or rejected",
            "pairs.jsonl row 4: wrong type: prompt is a list, and must be text",
        ]
    );
}

#[test]
fn drawn_losers_belong_to_the_rows_of_the_set() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path().join("set");
    write(&folder, "a.png", b"a");
    write(&folder, "c.png", b"c");
    write(
        &folder,
        "metadata.jsonl",
        concat!(
            "{\"file_name\": \"a.png\", \"text\": \"a\"}\n{\"file_name\": \"b.png\", \"text\": \"b\"}\n",
            "\n{\"file_name\": \"c.png\", \"text\": \"c\"}\n",
        )
        .as_bytes(),
    );
    let losers = scratch.path().join("losers");
    for row in [0, 1, 3] {
        write(&losers, &loser_name(row), format!("loser {row}").as_bytes());
    }
    let drawn =
        DrawnLosersSpec { folder: Some(losers.to_string_lossy().into_owned()), ..DrawnLosersSpec::default() };
    let spec = DataSpec::Images(ImagesSpec { losers: Some(drawn), ..images(&folder) });
    assert!(spec.has_pairs());
    let (pairs, _) = read(&spec).expect("readable");
    let found: Vec<_> = pairs.iter().map(|pair| (&*pair.winner, loser(pair))).collect();
    assert_eq!(found, [(&b"a"[..], &b"loser 0"[..]), (b"c", b"loser 3")]);
}

#[test]
fn likes_and_dislikes_of_a_prompt_form_pairs() {
    let scratch = tempfile::tempdir().expect("a folder");
    let folder = scratch.path();
    let mut list = String::new();
    for (prompt, image, liked) in [
        ("a cat", "1", true),
        ("a dog", "2", true),
        ("a cat", "3", false),
        ("a cat", "4", false),
        ("a bird", "5", false),
        (" ", "6", true),
        ("a cat", "7", true),
        ("a cat", "8", false),
    ] {
        write(folder, &format!("{image}.png"), image.as_bytes());
        let line = serde_json::json!({ "prompt": prompt, "image": format!("{image}.png"), "liked": liked });
        list += &format!("{line}\n");
    }
    write(folder, "likes.jsonl", list.as_bytes());
    let spec = DataSpec::Likes(spec(folder));
    assert_eq!(spec_of_folder(folder), spec);
    let (pairs, report) = read(&spec).expect("readable");
    let found: Vec<_> = pairs.iter().map(|pair| (&*pair.winner, loser(pair))).collect();
    assert_eq!(found, [(&b"1"[..], &b"3"[..]), (b"7", b"4"), (b"1", b"8")]);
    assert!(pairs.iter().all(|pair| pair.prompt == "a cat"));
    assert_eq!((report.dropped[&Reason::NoPartner], report.dropped[&Reason::NoPrompt]), (2, 1));
}

#[test]
fn a_set_of_another_kind_says_which_source_reads_it() {
    let scratch = tempfile::tempdir().expect("a folder");
    write(scratch.path(), "1.png", b"1");
    write(scratch.path(), "1.txt", b"a cat");
    let problem = read(&DataSpec::Folder(spec(scratch.path()))).expect_err("no losers").to_string();
    assert!(problem.contains("source = \"images\""), "{problem}");
    for source in
        [DataSpec::Images(images(Path::new("nowhere"))), DataSpec::Likes(spec(Path::new("nowhere")))]
    {
        let problem = read(&source).expect_err("no folder").to_string();
        assert!(problem.contains("no such folder"), "{problem}");
    }
    let commas = tempfile::tempdir().expect("a folder");
    write(commas.path(), "metadata.csv", b"file_name,text\n1.png,a cat, on a mat\n");
    let (pairs, report) = read(&DataSpec::Images(images(commas.path()))).expect("readable");
    assert!(
        pairs.is_empty() && report.named[0].detail.contains("quote captions that contain commas"),
        "{report:?}"
    );
    let empty = tempfile::tempdir().expect("a folder");
    let problem = read(&DataSpec::Images(images(empty.path()))).expect_err("no images").to_string();
    assert!(problem.contains("metadata.jsonl") && problem.contains(".txt"), "{problem}");
    let problem = read(&DataSpec::Likes(spec(empty.path()))).expect_err("no list").to_string();
    assert!(problem.contains("likes.jsonl") && problem.contains("liked"), "{problem}");
}

fn shard(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // Written directly, because the library refuses names that leave the folder.
        header.as_gnu_mut().expect("GNU").name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        archive.append(&header, *bytes).expect("appended");
    }
    archive.into_inner().expect("a shard")
}

#[test]
fn tar_shards_in_both_namings_are_read_and_damage_costs_only_pairs() {
    let scratch = tempfile::tempdir().expect("a folder");
    let first = shard(&[
        ("set/0001.winner.jpg", b"w1"),
        ("set/0001.loser.jpg", b"l1"),
        ("set/0001.txt", b"a cat"),
        ("../../etc/0002.loser.png", b"l2"),
        ("../../etc/0002.winner.png", b"w2"),
        ("../../etc/0002.json", br#"{"caption": "a dog", "id": 4}"#),
        ("0003.winner.jpg", b"w3"),
        ("0003.txt", b"alone"),
        ("0004.winner.jpg", b"w4"),
        ("0004.loser.jpg", b"l4"),
    ]);
    let second = shard(&[
        ("a.jpg_0.jpg", b"0"),
        ("a.jpg_1.jpg", b"1"),
        ("a.label_0.txt", b"0"),
        ("a.label_1.txt", b"1\n"),
        ("a.original_prompt.txt", b"a hen"),
        ("b.jpg_0.jpg", b"0"),
        ("b.jpg_1.jpg", b"1"),
        ("b.label_0.txt", b"0.5"),
        ("b.label_1.txt", b"0.5"),
        ("b.original_prompt.txt", b"a tie"),
    ]);
    write(scratch.path(), "0.tar", &first);
    write(scratch.path(), "1.tar", &second);
    let (mut pairs, report) = read(&DataSpec::WebDataset(spec(scratch.path()))).expect("readable");
    pairs.sort_by_key(|pair| pair.source.to_string());
    let found: Vec<_> = pairs.iter().map(|p| (p.prompt.as_str(), &*p.winner, loser(p))).collect();
    assert_eq!(found, [("a cat", &b"w1"[..], &b"l1"[..]), ("a dog", b"w2", b"l2"), ("a hen", b"1", b"0")]);
    assert_eq!(report.dropped[&Reason::MissingImage], 1);
    assert_eq!(report.dropped[&Reason::NoPrompt], 1);
    assert_eq!(report.dropped[&Reason::Tie], 1);

    // Truncated files and a claimed size of gigabytes give fewer pairs, without a panic or an allocation of that size.
    for length in (0..first.len()).step_by(97) {
        write(scratch.path(), "0.tar", &first[..length]);
        let (cut, _) = read(&DataSpec::WebDataset(spec(scratch.path()))).expect("readable");
        assert!(cut.len() <= 3);
    }
    let mut huge = first.clone();
    huge[124..136].copy_from_slice(b"77777777777\0");
    write(scratch.path(), "0.tar", &huge);
    let (cut, report) = read(&DataSpec::WebDataset(spec(scratch.path()))).expect("readable");
    assert_eq!(cut.len(), 1);
    assert!(report.dropped.values().sum::<u64>() >= 2);
}
