//! Scripts that several subjects start the server on.

/// Modules and level of the log that every script here has.
pub const HEAD: &str = r#"#!KAMAILIO
debug=2
loadmodule "sl"
loadmodule "xlog"
loadmodule "pv"
loadmodule "textops"
loadmodule "siputils"
loadmodule "sworker"
"#;

/// One receiver, no groups; the receiver answers and tells its process id.
pub fn answered_by_the_receiver() -> String {
    format!("{HEAD}children=1\nrequest_route {{ sl_send_reply(\"200\", \"pid $pp\"); }}\n")
}

/// Everything goes to the one group `calls`, whose workers answer and tell their process id.
pub fn answered_by_workers(receivers: u32, workers: u32, queue: u32) -> String {
    format!(
        r#"{HEAD}
children={receivers}
async_workers_group="name=calls;workers={workers};queue={queue}"
event_route[core:pre-routing] {{
    if (sworker_task("calls")) {{
        drop;
    }}
}}
request_route {{
    if (sworker_active()) {{
        sl_send_reply("200", "worker $pp");
    }} else {{
        sl_send_reply("200", "receiver $pp");
    }}
}}
"#
    )
}

/// INVITE goes to `calls`, REGISTER to `registrations`, all else stays in the receiver.
pub fn two_groups(receivers: u32, workers: u32, queue: u32) -> String {
    format!(
        r#"{HEAD}
children={receivers}
async_workers_group="name=calls;workers={workers};queue={queue}"
async_workers_group="name=registrations;workers={workers};queue={queue}"
event_route[core:pre-routing] {{
    if (is_method("INVITE") && sworker_task("calls")) {{
        drop;
    }}
    if (is_method("REGISTER") && sworker_task("registrations")) {{
        drop;
    }}
}}
request_route {{
    if (is_method("ACK")) {{
        exit;
    }}
    sl_send_reply("200", "pid $pp");
}}
"#
    )
}
