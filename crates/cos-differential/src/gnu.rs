//! GNU tar, started for each archive: `--extract --to-stdout` gives the contents, and `-vv` the list.

use crate::listing::{Answer, Listed, sha256};
use anyhow::{Context as _, bail};
use fs_err::File;
use rustix::fs::MemfdFlags;
use std::io::{Read as _, Seek as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// GNU tar.
#[derive(Debug)]
pub(crate) struct GnuTar {
    program: PathBuf,
}

impl GnuTar {
    pub(crate) fn find() -> anyhow::Result<Self> {
        let program = cos_testkit::tools::need_tool("tar")?;
        Ok(Self { program })
    }

    /// `holes`: how many bytes at the end of each member are a hole. Where no segment without length stands
    /// behind it, nothing of it is written into a pipe.
    pub(crate) fn read(&self, archive: &[u8], holes: &[u64]) -> anyhow::Result<Answer> {
        let mut input = memory()?;
        input.write_all(archive)?;
        input.rewind()?;
        let mut list = memory()?;
        let said = Command::new(&self.program)
            .args(["--extract", "--to-stdout", "--verbose", "--verbose"])
            .args([
                "--full-time",
                "--utc",
                "--numeric-owner",
                "--absolute-names",
            ])
            .args(["--quoting-style=c", "--file=-"])
            .env_clear()
            .env("LC_ALL", "C")
            .stdin(input.into_file())
            // A pipe: where it can seek, it seeks over holes, and over what is there already.
            .stdout(Stdio::piped())
            .stderr(list.try_clone()?.into_file())
            .spawn()
            .and_then(Child::wait_with_output)
            .context("cannot run tar")?;
        let list = all(&mut list)?;
        if !said.status.success() {
            return Ok(Answer::Refused(
                String::from_utf8_lossy(&list)
                    .lines()
                    .filter(|line| line.starts_with('/') || line.contains("tar: "))
                    .collect::<Vec<_>>()
                    .join("; "),
            ));
        }
        Ok(match members(&list, &said.stdout, holes)? {
            Some(members) => Answer::Members(members),
            None => Answer::Refused("it extracts other files than it lists".into()),
        })
    }
}

fn memory() -> anyhow::Result<File> {
    let descriptor = rustix::fs::memfd_create("tar", MemfdFlags::CLOEXEC)?;
    Ok(File::from_parts(descriptor.into(), "memory"))
}

fn all(file: &mut File) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts the list and the contents, which stand one behind the other, together; `None` when they do not fit.
fn members(list: &[u8], mut contents: &[u8], holes: &[u64]) -> anyhow::Result<Option<Vec<Listed>>> {
    let text = String::from_utf8_lossy(list);
    let mut members = Vec::new();
    for line in text.lines().filter(|line| is_member(line)) {
        let mut listed = member(line).with_context(|| format!("tar says: {line}"))?;
        if listed.kind == '-' {
            let size = usize::try_from(listed.size)?;
            let hole = holes.get(members.len()).copied().unwrap_or_default();
            let written = size.saturating_sub(usize::try_from(hole)?);
            let Some((own, rest)) = contents.split_at_checked(written) else {
                return Ok(None);
            };
            let mut own = own.to_vec();
            own.resize(size, 0);
            listed.content = Some(sha256(&own));
            contents = rest;
        }
        members.push(listed);
    }
    Ok(contents.is_empty().then_some(members))
}

/// Between the members is said what is wrong but bearable.
fn is_member(line: &str) -> bool {
    let mode = line.as_bytes().get(..11);
    mode.is_some_and(|mode| {
        mode[1..10]
            .iter()
            .all(|letter| b"-rwxsStT".contains(letter))
            && mode[10] == b' '
    })
}

/// `-rw-r--r-- 0/0  5 1970-01-01 00:00:00 "name"`, with ` -> "target"` or ` link to "target"` behind.
fn member(line: &str) -> anyhow::Result<Listed> {
    let quote = line.find('"').context("there is no name")?;
    let words: Vec<&str> = line[..quote].split_whitespace().collect();
    let [mode, owner, size, time @ ..] = &words[..] else {
        bail!("words are missing");
    };
    let (path, rest) = unquote(&line[quote..])?;
    let target = match rest.find('"') {
        Some(quote) => unquote(&rest[quote..])?.0,
        None => Vec::new(),
    };
    let kind = match mode.chars().next() {
        Some('C') => '-',
        Some(kind) => kind,
        None => bail!("there is no mode"),
    };
    let (uid, gid) = owner.split_once('/').context("there is no owner")?;
    let device = match size.split_once(',') {
        Some((major, minor)) => Some((major.parse()?, minor.parse()?)),
        None => None,
    };
    Ok(Listed {
        path: hex::encode(path),
        kind,
        link: hex::encode(target),
        size: if kind == '-' { size.parse()? } else { 0 },
        content: None,
        mode: permissions(&mode[1..]),
        uid: uid.parse()?,
        gid: gid.parse()?,
        mtime: seconds(time)?,
        device,
        attributes: None,
        hole: 0,
    })
}

fn permissions(text: &str) -> u32 {
    let bits = text.bytes().take(9).enumerate();
    bits.fold(0, |mode, (at, letter)| {
        let bit = 0o400 >> at;
        let special = 0o4000 >> (at / 3);
        mode | match letter {
            b'-' => 0,
            b'S' | b'T' => special,
            b's' | b't' => special | bit,
            _ => bit,
        }
    })
}

/// `1970-01-01 00:00:00.5`, or the number itself where no calendar reaches.
fn seconds(words: &[&str]) -> anyhow::Result<i64> {
    let [date, time] = words else {
        let number = words.first().context("there is no time")?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let below = number.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
        return Ok(whole.parse::<i64>()? - i64::from(below));
    };
    let (negative, date) = match date.strip_prefix('-') {
        Some(date) => (true, date),
        None => (false, *date),
    };
    let date: Vec<i64> = numbers(date, '-')?;
    let time: Vec<i64> = numbers(time.split('.').next().unwrap_or_default(), ':')?;
    let ([year, month, day], [hour, minute, second]) = (&date[..], &time[..]) else {
        bail!("no time");
    };
    let year = if negative { -year } else { *year };
    Ok(days(year, *month, *day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn numbers(text: &str, separator: char) -> anyhow::Result<Vec<i64>> {
    let numbers = text.split(separator).map(str::parse);
    numbers.collect::<Result<_, _>>().context("no number")
}

/// Days since 1970 of the proleptic Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Takes a string in quotes, as C has it; what follows it is the rest.
fn unquote(text: &str) -> anyhow::Result<(Vec<u8>, &str)> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 1;
    loop {
        match bytes.get(at).context("a name has no end")? {
            b'"' => return Ok((out, &text[at + 1..])),
            b'\\' => {
                let escape = *bytes.get(at + 1).context("a name has no end")?;
                at += 2;
                out.push(match escape {
                    b'a' => 7,
                    b'b' => 8,
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'v' => 11,
                    b'f' => 12,
                    b'r' => b'\r',
                    b'0'..=b'7' => {
                        let digits = text.get(at - 1..at + 2).context("an escape has no end")?;
                        at += 2;
                        u8::from_str_radix(digits, 8)?
                    }
                    other => other,
                });
            }
            other => {
                out.push(*other);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_tar_are_understood() {
        let file = member(r#"-rwsr-x--T 7/100 12 2009-02-13 23:31:30.5 "a \"\n\303\251""#).unwrap();
        assert_eq!(file.path, hex::encode("a \"\n\u{e9}"));
        assert_eq!(
            (file.kind, file.mode, file.uid, file.gid),
            ('-', 0o5750, 7, 100)
        );
        assert_eq!((file.size, file.mtime), (12, 1_234_567_890));
        let link = member(r#"hrw-r--r-- 0/0 0 1969-12-31 23:59:59 "a" link to "b""#).unwrap();
        assert_eq!((link.kind, link.link.as_str(), link.mtime), ('h', "62", -1));
        let device = member(r#"crw-r--r-- 0/0 8,3 1970-01-01 00:00:00 "c""#).unwrap();
        assert_eq!(device.device, Some((8, 3)));
        assert!(member("nonsense").is_err());
    }

    #[test]
    fn contents_go_to_the_files_they_belong_to() {
        let list = b"-rw-r--r-- 0/0 2 1970-01-01 00:00:00 \"a\"\ntar: a warning\n\
            drw-r--r-- 0/0 0 1970-01-01 00:00:00 \"d/\"\n-rw-r--r-- 0/0 1 1970-01-01 00:00:00 \"b\"\n";
        let found = members(list, b"xyz", &[]).unwrap().unwrap();
        assert_eq!(found[2].content, Some(sha256(b"z")));
        assert_eq!(members(list, b"xy", &[]).unwrap(), None);
        assert_eq!(members(list, b"xyzz", &[]).unwrap(), None);
        let found = members(list, b"xy", &[1, 0, 0]).unwrap().unwrap();
        assert_eq!(found[0].content, Some(sha256(b"x\0")));
    }
}
