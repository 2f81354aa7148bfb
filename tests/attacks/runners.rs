//! The attacks, in each language that tools are written in.

use rumi_tests::{Ends, Misdeed};

use crate::stand::{Attacker, Stand};

/// The most that one honest call may say, in each language.
const LARGEST: &[Misdeed] = &[
    Misdeed::new("print_much", Ends::Done).amount(8),
    Misdeed::new("print_errors", Ends::Done).amount(8),
    Misdeed::new("return_huge", Ends::Defined).amount(15),
];

const PYTHON: Attacker = Attacker {
    component: "misbehaving:tool:act",
    together: 1,
    largest: LARGEST,
    attacks: &[
        Misdeed::new("fork_bomb", Ends::Refused),
        Misdeed::new("eat_memory", Ends::Error("memory")),
        Misdeed::new("eat_mapped_memory", Ends::Error("memory")),
        Misdeed::new("eat_memory_in_a_file", Ends::Error("memory")),
        Misdeed::new("fill_tmp", Ends::Refused),
        Misdeed::new("fill_shared_memory", Ends::Refused),
        Misdeed::new("fill_workspace", Ends::Refused),
        Misdeed::new("make_many_files", Ends::Refused),
        Misdeed::new("print_much", Ends::Done).amount(256),
        Misdeed::new("print_errors", Ends::Done).amount(256),
        Misdeed::new("burn_all_processors", Ends::Done).amount(1),
        Misdeed::new("ignore_signals", Ends::InTime).timeout_ms(1000),
        Misdeed::new("leave_daemon", Ends::Done),
        Misdeed::new("leave_respawners", Ends::Done),
        Misdeed::new("open_many", Ends::Refused),
        Misdeed::new("leave_zombies", Ends::Refused),
        Misdeed::new("dump_core", Ends::Crashed),
        Misdeed::new("kill_parent", Ends::Defined),
        Misdeed::new("write_processes", Ends::Refused),
        Misdeed::new("hang_at_exit", Ends::Done),
        Misdeed::new("return_cycle", Ends::Error("unserializable")),
        Misdeed::new("return_huge", Ends::Defined).amount(1024),
        Misdeed::new("recurse", Ends::Error("RecursionError")),
        Misdeed::new("leave", Ends::Error("SystemExit")),
        Misdeed::new("leave_at_once", Ends::Crashed),
        Misdeed::new("crash", Ends::Crashed),
    ],
};

#[test]
fn after_every_attack_in_python_calls_are_as_quick_and_the_broker_as_small_as_before() {
    Stand::enter().withstands(&PYTHON);
}

const JAVASCRIPT: Attacker = Attacker {
    component: "attackers:tool:javascript",
    // A hundred processes of Node.js take both processors of a small machine for seconds.
    together: 6,
    largest: LARGEST,
    attacks: &[
        Misdeed::new("fork_bomb", Ends::Refused),
        Misdeed::new("leave_zombies", Ends::Done),
        Misdeed::new("eat_memory", Ends::Error("memory")),
        Misdeed::new("eat_memory_in_buffers", Ends::Error("memory")),
        Misdeed::new("eat_shared_memory", Ends::Error("memory")),
        Misdeed::new("fill_tmp", Ends::Refused),
        Misdeed::new("fill_shared_memory", Ends::Refused),
        Misdeed::new("fill_workspace", Ends::Refused),
        Misdeed::new("make_many_files", Ends::Refused),
        Misdeed::new("print_much", Ends::Done).amount(128),
        Misdeed::new("print_errors", Ends::Done).amount(128),
        Misdeed::new("burn_all_processors", Ends::Done),
        Misdeed::new("ignore_signals", Ends::InTime).timeout_ms(1000),
        Misdeed::new("spin", Ends::InTime).timeout_ms(1000),
        Misdeed::new("leave_daemon", Ends::Done),
        Misdeed::new("leave_respawners", Ends::Done),
        Misdeed::new("open_many", Ends::Refused),
        Misdeed::new("dump_core", Ends::Crashed),
        Misdeed::new("kill_parent", Ends::Defined),
        Misdeed::new("kill_everything", Ends::Defined),
        Misdeed::new("write_processes", Ends::Refused),
        Misdeed::new("hang_at_exit", Ends::Done),
        Misdeed::new("return_cycle", Ends::Error("unserializable")),
        Misdeed::new("return_deep", Ends::Error("unserializable")),
        Misdeed::new("return_huge", Ends::Error("result_too_large")),
        Misdeed::new("return_huge", Ends::Error("RangeError")).amount(1024),
        Misdeed::new("recurse", Ends::Error("RangeError")),
        Misdeed::new("leave", Ends::Crashed),
        Misdeed::new("leave_at_once", Ends::Crashed),
        Misdeed::new("crash", Ends::Crashed),
    ],
};

const BASH: Attacker = Attacker {
    component: "attackers:tool:bash",
    together: 1,
    largest: LARGEST,
    attacks: &[
        Misdeed::new("fork_bomb", Ends::InTime).timeout_ms(2000),
        Misdeed::new("leave_zombies", Ends::Done),
        Misdeed::new("eat_memory", Ends::Error("memory")),
        Misdeed::new("eat_memory_in_children", Ends::Defined),
        Misdeed::new("fill_tmp", Ends::Refused),
        Misdeed::new("fill_shared_memory", Ends::Refused),
        Misdeed::new("fill_workspace", Ends::Refused),
        Misdeed::new("print_much", Ends::Done).amount(128),
        Misdeed::new("print_errors", Ends::Done).amount(128),
        Misdeed::new("burn_all_processors", Ends::Done),
        Misdeed::new("ignore_signals", Ends::InTime).timeout_ms(1000),
        Misdeed::new("spin", Ends::InTime).timeout_ms(1000),
        Misdeed::new("leave_daemon", Ends::Done),
        Misdeed::new("leave_respawners", Ends::Done),
        Misdeed::new("open_many", Ends::Refused),
        Misdeed::new("dump_core", Ends::Crashed),
        Misdeed::new("kill_parent", Ends::Defined),
        Misdeed::new("kill_everything", Ends::Defined),
        Misdeed::new("write_processes", Ends::Refused),
        // A bash has answered when it has ended, its exit handler included.
        Misdeed::new("hang_at_exit", Ends::InTime).timeout_ms(1000),
        Misdeed::new("return_broken", Ends::Error("unserializable")),
        Misdeed::new("return_huge", Ends::Error("result_too_large")).amount(20),
        Misdeed::new("return_huge", Ends::Error("memory")).amount(1024),
        Misdeed::new("recurse", Ends::Defined).timeout_ms(3000),
        Misdeed::new("leave", Ends::Error("exit")),
        Misdeed::new("crash", Ends::Crashed),
    ],
};

#[test]
fn after_every_attack_in_javascript_calls_are_as_quick_and_the_broker_as_small_as_before() {
    Stand::enter().withstands(&JAVASCRIPT);
}

#[test]
fn after_every_attack_in_bash_calls_are_as_quick_and_the_broker_as_small_as_before() {
    Stand::enter().withstands(&BASH);
}

/// What Landlock forbids elsewhere is done here, and must come to nothing all the same.
const WITHOUT_LANDLOCK: Attacker = Attacker {
    component: "unconfined:tool:run",
    together: 2,
    largest: &[],
    attacks: &[
        Misdeed::new("kill_parent", Ends::Done),
        Misdeed::new("kill_everything", Ends::Defined),
        Misdeed::new("write_processes", Ends::Refused),
        Misdeed::new("leave_respawners", Ends::Done),
    ],
};

#[test]
fn on_a_kernel_without_landlock_a_killed_parent_is_replaced_and_the_next_call_answers() {
    Stand::enter().withstands(&WITHOUT_LANDLOCK);
}
