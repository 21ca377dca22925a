//! Every key of a step, carried out in a root of its own and judged by what is in it afterwards, and
//! by other people's programs run in it. What is expected is yip's behaviour, key by key, but for the
//! differences that the book tells of.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::format_collect,
    clippy::too_many_lines,
    reason = "tests fail by panicking, are read from top to bottom, and look up their judges along the tester's PATH"
)]

mod accounts;
mod cloud;
mod conditions;
mod datasource;
mod downloads;
mod files;
mod modules;
mod names;
mod order;
mod packages;
mod repository;
mod scratch;
#[path = "../../../cos-http/tests/server/mod.rs"]
mod server;
mod services;
