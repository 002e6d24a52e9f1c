//! What the README's tour does by hand: the field's pocket knife gets its answers.

use crate::scripts::two_groups;
use crate::support::{SOON, Server, Tool};

#[test]
fn options_and_register_are_answered() {
    let server = Server::start(&two_groups(1, 1, 64));
    let uri = format!("sip:me@{}", server.address());
    let rows: [(&[&str], &str); 2] = [
        (&["-vv", "-s", &uri], "SIP/2.0 200"),
        (&["-v", "-U", "-i", "-C", "sip:me@127.0.0.1:9", "-x", "60", "-s", &uri], "completed successful"),
    ];
    for (arguments, expected) in rows {
        let finished = Tool::start(server.folder(), "sipsak", "sipsak", arguments).finish(SOON);
        assert_eq!(finished.code, Some(0), "{arguments:?}:\n{}", finished.output);
        assert!(finished.output.contains(expected), "{arguments:?}:\n{}", finished.output);
    }
}
