//! Go text templates with the sprig functions of cloud-configs.
//!
//! [`Templates::render`] gives what Go's `text/template` gives with the functions of
//! [sprig](https://masterminds.github.io/sprig/) 3.2: `tests/golden.json` holds what real Go made of
//! several hundred templates, and the tests compare. Templates come from user-data, so every
//! rendering has [`Limits`] on its time, its memory and its depth, and no function reaches the
//! network, the file system or the process environment.
//!
//! # An engine of its own
//!
//! Templates change maps in place (`set`), hold Go's types apart (`int`, `int64`, `float64`) and
//! must fail with a line number when a block is not closed. The crate `gotmpl` (0.6.1) has immutable
//! maps and one integer, drops without a word what follows a stray `{{end}}` or `{{else}}`, and
//! overflows the stack on a long chain of `else if`. So lexer, parser and executor are here, ported
//! from Go 1.19 with the additions of later versions: `range` over an integer, `else with`.
//!
//! # Left out
//!
//! A template that uses one of these fails with [`TemplateError::UnknownFunction`]:
//!
//! - `getHostByName`: templates do not reach the network.
//! - `genPrivateKey`, `genCA`, `genCAWithKey`, `genSelfSignedCert`, `genSelfSignedCertWithKey`,
//!   `genSignedCert`, `genSignedCertWithKey`, `buildCustomCert`, `derivePassword`, `bcrypt`,
//!   `htpasswd`, `encryptAES`, `decryptAES`, `randBytes`, `sha1sum`: cryptography does not belong
//!   into a template.
//! - `ago`, `dateModify`, `date_modify`, `mustDateModify`, `must_date_modify`, `duration`,
//!   `durationRound`, `toDate`, `mustToDate`: durations and the parsing of dates.
//! - `add1f`, `addf`, `subf`, `mulf`, `divf`: decimal arithmetic.
//! - `urlParse`, `urlJoin`, `shuffle`.

mod error;
mod exec;
mod float;
mod format;
mod functions;
mod lex;
mod limits;
mod literal;
mod parse;
mod printf;
mod tree;
mod value;

pub use error::{Place, TemplateError};
pub use functions::names as function_names;
pub use limits::{LimitKind, Limits};

use error::Located;
use limits::{Budget, Fault};
use std::collections::BTreeMap;
use value::Scope;

/// Renders templates.
#[derive(Debug, Clone, Default)]
pub struct Templates {
    environment: BTreeMap<String, String>,
    limits: Limits,
}

impl Templates {
    /// Templates whose functions `env` and `expandenv` see `environment` and nothing else, and of
    /// which each rendering stays within `limits`.
    pub fn new(environment: BTreeMap<String, String>, limits: Limits) -> Self {
        Self {
            environment,
            limits,
        }
    }

    /// Whether `text` is a template: what can be known without any values. `name` is for errors.
    pub fn check(name: &str, text: &str) -> Result<(), TemplateError> {
        if !text.contains("{{") {
            return Ok(());
        }
        let limits = Limits::default();
        let parsed = if text.len() > limits.input {
            Err(Located::fault(0, Fault::Limit(LimitKind::Input)))
        } else {
            parse::parse(text, Budget::new(&limits).depth()).map(|_| ())
        };
        parsed.map_err(|error| error.name(name, text))
    }

    /// Renders `text` with `values` as its dot. Numbers of `values` are floating-point numbers to
    /// the template, as they are in Go. `name` is for errors.
    ///
    /// Text without `{{` is returned as it is.
    pub fn render(
        &self,
        name: &str,
        text: &str,
        values: &serde_json::Value,
    ) -> Result<String, TemplateError> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let rendered = self.run(text, values);
        rendered.map_err(|error| error.name(name, text))
    }

    fn run(&self, text: &str, values: &serde_json::Value) -> Result<String, Located> {
        if text.len() > self.limits.input {
            return Err(Located::fault(0, Fault::Limit(LimitKind::Input)));
        }
        let budget = Budget::new(&self.limits);
        let tree = parse::parse(text, budget.depth())?;
        let mut scope = Scope::new(budget, &self.environment);
        let data = scope
            .json(values)
            .map_err(|fault| Located::fault(0, fault))?;
        exec::execute(&tree, &mut scope, &data)
    }
}
