//! What each key of a step does, in the order in which yip does it.

mod accounts;
mod builtin;
mod commands;
mod datasource;
mod files;
mod layout;
mod names;
mod packages;
mod repository;
mod services;

use crate::context::Context;
use crate::document::LoadedStep;
use crate::run::Report;

pub(crate) use accounts::parse_entity;
pub(crate) use files::decoded;

/// Carries out a step.
pub(crate) fn run(loaded: &LoadedStep, context: &Context<'_>, report: &mut Report<'_>) {
    type Action = fn(&crate::schema::Step, &Context<'_>, &mut Report<'_>);
    let actions: [(&'static str, Action); 22] = [
        ("dns", names::dns),
        ("downloads", files::downloads),
        ("git", repository::git),
        ("ensure_entities", accounts::ensure_entities),
        ("directories", files::directories),
        ("files", files::files),
        ("commands", commands::commands),
        ("delete_entities", accounts::delete_entities),
        ("hostname", names::hostname),
        ("sysctl", commands::sysctl),
        ("users", accounts::users),
        ("authorized_keys", accounts::authorized_keys),
        ("modules", commands::modules),
        ("timesyncd", services::timesyncd),
        ("systemctl", services::systemctl),
        ("environment", names::environment),
        ("systemd_firstboot", services::firstboot),
        ("datasource", datasource::datasource),
        ("layout", layout::layout),
        ("package_pins", packages::pins),
        ("packages", packages::packages),
        ("unpack_images", repository::unpack_images),
    ];
    for (key, action) in actions {
        report.key(key);
        action(&loaded.step, context, report);
    }
    if let Some(builtin) = &loaded.builtin {
        builtin::run(builtin, &loaded.step, context, report);
    }
}
