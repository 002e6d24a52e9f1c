//! The world of a running script: the message in hand, and the registry behind the names.

use crate::script::catalog::{FunctionId, TransformationId};
use crate::script::host::{Argument, Host, Outcome, Place, Reading, Refusal, Severity, ValueRef};

use super::context::Context;
use crate::telemetry::log::Level;
use crate::telemetry::log::escape::{Manner, escape};

impl Host for Context<'_> {
    fn read(&mut self, place: Place<'_>, out: &mut Vec<u8>) -> Reading {
        self.script().read(self, place, out)
    }

    fn write(&mut self, place: Place<'_>, value: ValueRef<'_>) -> Result<(), Refusal> {
        self.script().write(self, place, value)
    }

    fn transform(
        &mut self,
        transformation: TransformationId,
        input: ValueRef<'_>,
        arguments: &[Argument<'_>],
        out: &mut Vec<u8>,
    ) -> Reading {
        match self.script().transform(transformation, input, arguments, self.grammar(), out) {
            Ok(reading) => reading,
            Err(refused) => {
                self.log(
                    Level::Error,
                    format_args!("transformation {{{}}} has no result: {}", refused.name, refused.reason),
                );
                Reading::Null
            }
        }
    }

    fn call(&mut self, function: FunctionId, arguments: &[Argument<'_>]) -> Outcome {
        self.renew_log_prefix();
        self.script().call(function, self, arguments)
    }

    fn tick(&mut self) {
        self.process.ports.egress.flush_old();
    }

    fn show(&mut self, text: &[u8], out: &mut Vec<u8>) {
        escape(text, Manner::AsReceived, out);
    }

    fn complain(&mut self, severity: Severity, place: &str, message: &str) {
        let level = match severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
        };
        self.log(level, format_args!("{place}: {message}"));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::routing::context::tests::with_context_logging_to;
    use crate::script::catalog::Catalog;

    #[test]
    fn complaints_of_a_script_are_lines_with_their_place() {
        let kept = Rc::new(RefCell::new(Vec::new()));
        with_context_logging_to(kept.clone(), |context| {
            context.complain(Severity::Error, "t.cfg:7", "division by zero");
            context.complain(Severity::Warning, "t.cfg:8", "odd");
        });
        let text = String::from_utf8(kept.take()).unwrap();
        assert!(text.contains("ERROR: <core>: t.cfg:7: division by zero\n"), "{text}");
        assert!(text.contains("WARNING: <core>: t.cfg:8: odd\n"), "{text}");
    }

    #[test]
    fn null_stays_null_through_a_transformation() {
        with_context_logging_to(Rc::default(), |context| {
            let resolver = Box::new(crate::config::settings::listen::SystemResolver);
            let mut catalog = crate::bindings::registry::Registry::new(&[], Default::default(), resolver);
            let length = catalog.transformation("s.len", 0).unwrap();
            let mut out = b"kept".to_vec();
            assert_eq!(context.transform(length, ValueRef::Null, &[], &mut out), Reading::Null);
            assert_eq!(
                context.transform(length, ValueRef::Text(b"four"), &[], &mut out),
                Reading::Integer(4)
            );
            assert_eq!(out, b"kept");
        });
    }
}
