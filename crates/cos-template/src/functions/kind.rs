//! What type a value has.

use super::{Args, Function, Param};
use crate::limits::Outcome;
use crate::value::{Scope, Value};
use Param::{Any, Text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("typeOf", &[Any], |scope, args| {
        scope.text(args.at(0)?.type_name())
    }),
    Function::new("kindOf", &[Any], |scope, args| {
        scope.text(args.at(0)?.kind_name())
    }),
    Function::new("typeIs", &[Text, Any], |_, args| {
        Ok(Value::Bool(args.text(0)? == args.at(1)?.type_name()))
    }),
    Function::new("typeIsLike", &[Text, Any], |_, args| {
        let name = args.at(1)?.type_name();
        let wanted = args.text(0)?;
        let is = wanted == name || name.strip_prefix('*') == Some(wanted);
        Ok(Value::Bool(is))
    }),
    Function::new("kindIs", &[Text, Any], |_, args| {
        Ok(Value::Bool(args.text(0)? == args.at(1)?.kind_name()))
    }),
    Function::new("deepEqual", &[Any, Any], deep_equal),
];

fn deep_equal(scope: &mut Scope<'_>, args: Args<'_>) -> Outcome<Value> {
    Ok(Value::Bool(scope.deep_equal(args.at(0)?, args.at(1)?)?))
}
