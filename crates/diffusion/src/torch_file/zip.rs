//! The directory of a zip archive (PKWARE's APPNOTE 4.3, with zip64), as torch writes it since 1.6: members stored
//! as they are. Compressed members, as other tools write them, are read too.

use super::Checked;
use super::source::{Extent, Source};

const END: [u8; 4] = *b"PK\x05\x06";
const END_64_LOCATOR: [u8; 4] = *b"PK\x06\x07";
const END_64: [u8; 4] = *b"PK\x06\x06";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const LOCAL: [u8; 4] = *b"PK\x03\x04";
/// A directory of a million members.
const LONGEST_DIRECTORY: u64 = 128 << 20;

/// A file in the archive.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) name: String,
    method: u16,
    encrypted: bool,
    compressed: u64,
    length: u64,
    header: u64,
}

/// All members, in the order of the directory.
pub(super) fn members(source: &Source) -> Checked<Vec<Member>> {
    let (start, length, count) = directory(source)?;
    if length > LONGEST_DIRECTORY {
        return Err(format!("has a zip directory of {length} bytes, which no checkpoint needs"));
    }
    let bytes = source.read(start, length)?;
    let mut fields = Fields(&bytes);
    let mut members = vec![];
    while fields.0.starts_with(&CENTRAL) {
        members.push(Member::parse(&mut fields).ok_or_else(broken)?);
    }
    if members.len() as u64 != count {
        return Err(broken());
    }
    Ok(members)
}

/// Where the directory begins, its length, and how many members it has.
fn directory(source: &Source) -> Checked<(u64, u64, u64)> {
    // The end record is 22 bytes and a comment of up to 65535.
    let tail_length = source.length().min(22 + 65_535);
    let tail_start = source.length() - tail_length;
    let tail = source.read(tail_start, tail_length)?;
    let place = (0..tail.len().saturating_sub(21)).rev().find(|&i| {
        tail[i..].starts_with(&END)
            && i + 22 + usize::from(u16::from_le_bytes([tail[i + 20], tail[i + 21]])) <= tail.len()
    });
    let Some(place) = place else {
        return Err("is a zip archive without its end: copy or download it again".to_owned());
    };
    let mut end = Fields(&tail[place + 4..]);
    let mut record = || {
        end.skip(6)?;
        Some((u64::from(end.u16()?), u64::from(end.u32()?), u64::from(end.u32()?)))
    };
    let (mut count, mut length, mut start) = record().ok_or_else(broken)?;
    if let Some(locator) = place.checked_sub(20)
        && tail[locator..].starts_with(&END_64_LOCATOR)
    {
        let mut locator = Fields(&tail[locator + 8..]);
        let record = source.read(locator.u64().ok_or_else(broken)?, 56)?;
        if !record.starts_with(&END_64) {
            return Err(broken());
        }
        let mut end = Fields(&record[32..]);
        let mut record = || Some((end.u64()?, end.u64()?, end.u64()?));
        (count, length, start) = record().ok_or_else(broken)?;
    }
    if start.checked_add(length).is_none_or(|end| end > source.length()) {
        return Err(broken());
    }
    Ok((start, length, count))
}

impl Member {
    fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        fields.skip(8)?;
        let flags = fields.u16()?;
        let method = fields.u16()?;
        fields.skip(8)?;
        let [mut compressed, mut length] = [u64::from(fields.u32()?), u64::from(fields.u32()?)];
        let [name, extra, comment] = [fields.u16()?, fields.u16()?, fields.u16()?];
        fields.skip(8)?;
        let mut header = u64::from(fields.u32()?);
        let name = String::from_utf8_lossy(fields.bytes(name.into())?).into_owned();
        let mut extra = Fields(fields.bytes(extra.into())?);
        fields.skip(comment.into())?;
        while let (Some(kind), Some(size)) = (extra.u16(), extra.u16()) {
            let mut block = Fields(extra.bytes(size.into())?);
            if kind == 1 {
                // Only what did not fit into the fields above, in this order.
                for field in [&mut length, &mut compressed, &mut header] {
                    if *field == u64::from(u32::MAX) {
                        *field = block.u64()?;
                    }
                }
            }
        }
        Some(Self { name, method, encrypted: flags & 1 != 0, compressed, length, header })
    }

    /// Where the bytes are.
    pub(super) fn extent(&self, source: &Source) -> Checked<Extent> {
        let problem = |problem: &str| format!("has a zip member {:?} that {problem}", self.name);
        if self.encrypted {
            return Err(problem(
                "is encrypted: unpack the archive with its password and save the model again",
            ));
        }
        let header = source.read(self.header, 30)?;
        let mut fields = Fields(&header);
        if fields.bytes(4) != Some(&LOCAL) {
            return Err(problem("does not begin where the directory says: copy or download the file again"));
        }
        let mut lengths = || {
            fields.skip(22)?;
            Some(u64::from(fields.u16()?) + u64::from(fields.u16()?))
        };
        let start = lengths().and_then(|names| self.header.checked_add(30 + names)).ok_or_else(broken)?;
        if start.checked_add(self.compressed).is_none_or(|end| end > source.length()) {
            return Err(problem("reaches beyond the file's end: copy or download the file again"));
        }
        match self.method {
            0 if self.compressed == self.length => Ok(Extent::stored(start, self.length)),
            0 => Err(problem("has two lengths though it is not compressed")),
            8 => Ok(Extent::deflated(start, self.compressed, self.length)),
            other => Err(problem(&format!("is packed by method {other}; stored and deflated ones are read"))),
        }
    }
}

fn broken() -> String {
    "is a zip archive with a broken directory: copy or download it again".to_owned()
}

/// Little-endian numbers, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.bytes(count).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }
}
