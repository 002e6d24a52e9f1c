//! `order=`: messages of one key are processed one after another, in the order in which they came, whoever dies.

use std::collections::HashMap;
use std::ops::Range;

use nix::sys::signal::Signal;

use crate::scripts::HEAD;
use crate::support::{Caller, Request, SOON, Server, processes, wait_until};

/// Eight workers that take between nothing and four milliseconds for a message, and tell its number when they have.
fn script(order: &str) -> String {
    format!(
        r#"{HEAD}
loadmodule "cfgutils"
children=1
async_workers_group="name=calls;workers=8;queue=4096;order={order}"
event_route[core:pre-routing] {{
    if (sworker_task("calls")) {{ drop; }}
}}
request_route {{
    $var(pause) = $RANDOM mod 4000;
    usleep("$var(pause)");
    sl_send_reply("200", "$hdr(X-Number)");
}}
"#
    )
}

/// The `number`-th message of a key: the value of `X-Key` is what the order goes by, unless it is the Call-ID.
fn message(caller: &Caller, by: By, key: usize, number: usize) -> Vec<u8> {
    let request = match by {
        By::CallId => Request::new("INFO", &format!("key-{key}")),
        By::Header => Request::new("INFO", &format!("m-{key}-{number}")),
    };
    caller.bytes(&request.header(&format!("X-Key: {key}")).header(&format!("X-Number: {key}/{number}")))
}

#[derive(Clone, Copy)]
enum By {
    CallId,
    Header,
}

/// What came back, in its order: key and number.
struct Answers {
    last: HashMap<usize, usize>,
    inversions: usize,
    count: usize,
}

impl Answers {
    fn new() -> Answers {
        Answers { last: HashMap::new(), inversions: 0, count: 0 }
    }

    /// One more. The same again is what a worker's death may cause.
    fn book(&mut self, caller: &Caller) {
        let answer = caller.receive();
        let (key, number) =
            answer.start.trim_start_matches("SIP/2.0 200 ").split_once('/').expect("key/number");
        let (key, number): (usize, usize) = (key.parse().unwrap(), number.parse().unwrap());
        let expected = self.last.get(&key).map_or(0, |last| last + 1);
        match number {
            number if number == expected => {
                self.last.insert(key, number);
                self.count += 1;
            }
            number if number < expected => {}
            _ => self.inversions += 1,
        }
    }
}

/// Sends so many messages of each key, a burst of every key after the other, and counts inversions. `meanwhile` is called
/// from time to time.
fn play(
    server: &Server,
    by: By,
    keys: Range<usize>,
    each: usize,
    mut meanwhile: impl FnMut(usize),
) -> Answers {
    let caller = server.caller();
    let mut answers = Answers::new();
    let mut sent = 0;
    for number in 0..each {
        for key in keys.clone() {
            caller.send(&message(&caller, by, key, number));
            sent += 1;
            while sent - answers.count - answers.inversions > 200 {
                answers.book(&caller);
                meanwhile(answers.count);
            }
        }
    }
    while answers.count + answers.inversions < sent {
        answers.book(&caller);
        meanwhile(answers.count);
    }
    answers
}

#[test]
fn no_message_overtakes_another_one_of_its_call() {
    let server = Server::start(&script("callid"));
    for (first_key, keys, each) in [(0, 2, 200), (100, 20, 20)] {
        let answers = play(&server, By::CallId, first_key..first_key + keys, each, |_| {});
        assert_eq!((answers.inversions, answers.count), (0, keys * each));
    }
    assert_eq!(server.group("calls")["late_found"], 0);
}

#[test]
fn without_order_they_do() {
    let server = Server::start(&script("none"));
    let answers = play(&server, By::CallId, 0..2, 200, |_| {});
    assert!(answers.inversions > 0, "this test cannot see inversions");
}

#[test]
fn a_variable_can_say_what_belongs_together() {
    for order in ["$hdr(X-Key)", "hdr(X-Key)"] {
        let server = Server::start(&script(order));
        let answers = play(&server, By::Header, 0..10, 20, |_| {});
        assert_eq!((answers.inversions, answers.count), (0, 200), "{order}");
    }
}

#[test]
fn order_survives_the_deaths_of_workers() {
    let server = Server::start(&script("callid"));
    let mut kills = 0;
    let answers = play(&server, By::CallId, 0..10, 150, |count| {
        if count / 50 > kills {
            kills += 1;
            let workers = server.children_titled("worker calls/");
            if let Some(victim) = workers.get(kills % workers.len().max(1)) {
                processes::send_signal(*victim, Signal::SIGKILL);
            }
        }
    });
    assert_eq!((answers.inversions, answers.count), (0, 1_500));
    assert!(kills >= 20, "only {kills} workers were killed");
    let group = server.group("calls");
    assert_eq!([&group["quarantined"], &group["corrupt"], &group["late_found"]], [0, 0, 0], "{group}");
    wait_until("all are processed", SOON, || server.group("calls")["depth"] == 0);
}

#[test]
fn a_variable_that_does_not_exist_is_a_mistake_of_the_script() {
    let done = crate::support::check_config(&script("nosuchvariable"));
    assert_ne!(done.code, Some(0));
    assert!(done.output.contains("worker group \"calls\": order: "), "{}", done.output);
}

#[test]
fn a_reload_keeps_the_order_between_the_previous_generation_and_the_new_one() {
    let server = Server::start(&script("callid"));
    let caller = server.caller();
    let send = |number| caller.send(&message(&caller, By::CallId, 1, number));
    let workers = server.children_titled("worker calls/");
    // Given messages of a call that wait in the previous generation, which does not move ...
    workers.iter().for_each(|pid| processes::freeze(*pid));
    (0..20).for_each(send);
    wait_until("all wait", SOON, || server.counter("sworker.delegated") == 20);
    server.ask_control(&["core.reload"]);
    wait_until("the previous receiver has left", SOON, || server.children_titled("receiver ").len() == 1);
    // ... and later ones that the new generation has accepted ...
    (20..40).for_each(send);
    wait_until("these wait, too", SOON, || server.group("calls")["depth"] == 20);

    // ... they come in their order when the previous one goes on.
    workers.iter().for_each(|pid| processes::thaw(*pid));
    let mut answers = Answers::new();
    (0..40).for_each(|_| answers.book(&caller));
    assert_eq!((answers.count, answers.inversions), (40, 0));
    wait_until("the previous generation is gone", SOON, || {
        server.ask_control(&["core.generation"])["draining"] == 0
    });
}
