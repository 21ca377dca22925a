//! `dns`, `hostname`, `environment`.

use crate::context::Context;
use crate::error::StepError;
use crate::run::Report;
use crate::schema::Step;
use cos_sys::root_file::Metadata;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Longest file that is changed and not replaced, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// Longest host name, as Linux has it.
const MAX_HOSTNAME: usize = 64;

pub(super) fn dns(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    let Some(dns) = step.dns.as_ref().filter(|dns| !dns.nameservers.is_empty()) else {
        return;
    };
    let mut text = String::new();
    // Writing to a String cannot fail.
    for server in &dns.nameservers {
        let _infallible = writeln!(text, "nameserver {server}");
    }
    if !dns.search.is_empty() {
        let _infallible = writeln!(text, "search {}", dns.search.join(" "));
    }
    if !dns.options.is_empty() {
        let _infallible = writeln!(text, "options {}", dns.options.join(" "));
    }
    let path = dns.path.as_deref().unwrap_or("/etc/resolv.conf");
    report.take(replace(context, path, &text, 0o644));
}

/// Writes a whole file of the root.
pub(super) fn replace(
    context: &Context<'_>,
    path: &str,
    text: &str,
    mode: u32,
) -> Result<(), StepError> {
    let path = super::files::absolute(path)?;
    let metadata = Metadata {
        mode: Some(mode),
        ..Metadata::default()
    };
    context
        .root
        .write(&path, text.as_bytes(), &metadata)
        .map_err(|source| StepError::Path {
            what: format!("the file {}", path.display()),
            source,
        })
}

/// A text file of the root; empty when it is not there.
pub(super) fn text_of(context: &Context<'_>, path: &str) -> Result<String, StepError> {
    let path = super::files::absolute(path)?;
    let bytes = context
        .root
        .read(&path, MAX_BYTES)
        .map_err(|source| StepError::Path {
            what: format!("sense of {}", path.display()),
            source,
        })?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

pub(super) fn hostname(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    if let Some(name) = &step.hostname {
        report.take(set_hostname(name, context));
    }
}

/// Sets the host name now, and in the files.
pub(super) fn set_hostname(template: &str, context: &Context<'_>) -> Result<(), StepError> {
    let name = context.render("hostname", template)?;
    let name = name.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if name.is_empty() || name.len() > MAX_HOSTNAME || !name.chars().all(fits) {
        return Err(StepError::Value(format!(
            "{name:?} is no host name: letters, digits, dashes and dots, at most {MAX_HOSTNAME}"
        )));
    }
    // In an image, or in a scratch root, the name of the machine it is made on is left alone.
    if context.host.running {
        rustix::system::sethostname(name.as_bytes()).map_err(|errno| StepError::Kernel {
            action: format!("set the host name {name}"),
            source: errno.into(),
        })?;
    }
    replace(context, "/etc/hostname", &format!("{name}\n"), 0o644)?;
    let hosts = text_of(context, "/etc/hosts")?;
    let metadata_kept = hosts_with(&hosts, name);
    context
        .root
        .write(
            Path::new("/etc/hosts"),
            metadata_kept.as_bytes(),
            &Metadata::default(),
        )
        .map_err(|source| StepError::Path {
            what: "the file /etc/hosts".into(),
            source,
        })
}

/// /etc/hosts with the line of 127.0.0.1 naming the machine; the line is made when it is missing.
fn hosts_with(hosts: &str, name: &str) -> String {
    let short = name.split('.').next().unwrap_or(name);
    let alias = if short == name {
        String::new()
    } else {
        format!(" {short}")
    };
    let ours = format!("127.0.0.1 localhost {name}{alias}");
    let mut lines: Vec<&str> = Vec::new();
    let mut placed = false;
    for line in hosts.lines() {
        if line.split_whitespace().next() == Some("127.0.0.1") {
            if !placed {
                lines.push(&ours);
                placed = true;
            }
        } else {
            lines.push(line);
        }
    }
    if !placed {
        lines.insert(0, &ours);
    }
    lines.join("\n") + "\n"
}

pub(super) fn environment(step: &Step, context: &Context<'_>, report: &mut Report<'_>) {
    if step.environment.is_empty() {
        return;
    }
    let path = step.environment_file.as_deref();
    let path = path.unwrap_or("/etc/environment");
    let result = merge_environment(&step.environment, path, context, report);
    report.take(result);
}

fn merge_environment(
    wanted: &BTreeMap<String, String>,
    path: &str,
    context: &Context<'_>,
    report: &mut Report<'_>,
) -> Result<(), StepError> {
    let mut variables = variables(&text_of(context, path)?);
    for (name, value) in wanted {
        let value = if variable_name(name) {
            context.render(name, value)
        } else {
            Err(StepError::Value(format!("{name:?} is no variable's name")))
        };
        // One that is wrong does not keep the others away.
        variables.extend(report.take(value).map(|value| (name.clone(), value)));
    }
    let mut text = String::new();
    for (name, value) in &variables {
        let _infallible = writeln!(text, "{name}={}", quoted(value));
    }
    replace(context, path, &text, 0o644)
}

fn variable_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    !name.is_empty() && name.chars().all(fits)
}

/// The variables of a file such as /etc/environment.
fn variables(text: &str) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for line in text.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        if line.starts_with('#') {
            continue;
        }
        if let Some((name, value)) = line.split_once('=') {
            let name = name.trim();
            if variable_name(name) {
                variables.insert(name.to_owned(), unquoted(value.trim()));
            }
        }
    }
    variables
}

/// A value as dotenv files have it: what [`quoted`] makes becomes again what it was.
fn unquoted(value: &str) -> String {
    if let Some(rest) = value.strip_prefix('\'') {
        return rest.split('\'').next().unwrap_or_default().to_owned();
    }
    let Some(rest) = value.strip_prefix('"') else {
        let end = value.find(" #").unwrap_or(value.len());
        return value[..end].trim_end().to_owned();
    };
    let mut out = String::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(c @ ('"' | '\\' | '$' | '`')) => out.push(c),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    out
}

/// As yip's dotenv writer: numbers bare, everything else in double quotes.
fn quoted(value: &str) -> String {
    if !value.is_empty() && value.len() < 19 && value.chars().all(|c| c.is_ascii_digit()) {
        return value.to_owned();
    }
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '"' | '\\' | '$' | '`' => {
                out.push('\\');
                out.push(c);
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_keeps_what_else_it_has() {
        assert_eq!(
            hosts_with(
                "::1 localhost\n127.0.0.1 localhost old\n10.0.0.1 x\n",
                "new.example"
            ),
            "::1 localhost\n127.0.0.1 localhost new.example new\n10.0.0.1 x\n"
        );
        assert_eq!(hosts_with("", "a"), "127.0.0.1 localhost a\n");
    }

    #[test]
    fn environment_survives_being_read_again() {
        let text = "A=1\nexport B='x y'\n# c\nC=\"q\\\"z\\nw\"\n";
        let read = variables(text);
        assert_eq!(read["B"], "x y");
        let lines = read
            .iter()
            .map(|(name, value)| format!("{name}={}\n", quoted(value)));
        let again = lines.collect::<Vec<_>>().concat();
        assert_eq!(again, "A=1\nB=\"x y\"\nC=\"q\\\"z\\nw\"\n");
        assert_eq!(variables(&again), read);
        let value = "all of: \" \\ $x `y` \n \r 'z' #";
        assert_eq!(unquoted(&quoted(value)), value);
        assert_eq!(unquoted("plain # comment"), "plain");
    }
}
