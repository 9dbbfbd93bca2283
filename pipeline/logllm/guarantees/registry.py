"""Every promise, in the order of the page."""

from __future__ import annotations

from logllm.guarantees.checks import actions, alerts, delivery, notify, peers, plugins, reduce, running, sinks, text
from logllm.guarantees.promise import Promise

__all__ = ["PROMISES"]

_OURS = "tests/guarantees/test_guarantees.py::test_the_promise_holds_of_the_program_as_it_is"

PROMISES: tuple[Promise, ...] = (
    Promise(
        id="acked-is-durable",
        sentence="A chunk is acknowledged only once every required sink has it on disk, so that kill -9 at any moment "
        "loses no acknowledged record and stores none twice.",
        limits="For file sinks with `fsync` on, on a disk that keeps what it says it has; a sender that asks for no "
        "ack has no promise, and a chunk is recognised for `dedup_s` (48 hours) and among `dedup_chunks` (a million). "
        "What a plugin holds back is acknowledged when it takes it; such a plugin sees a retry as new.",
        tests=(
            "tests/delivery/test_kill_oracle.py::"
            "test_every_acknowledged_record_is_there_once_however_often_servers_are_killed",
            "tests/delivery/test_power_cut.py::test_whatever_was_acknowledged_before_the_power_went_is_there_once",
            "tests/delivery/test_disk_faults.py::"
            "test_a_process_that_dies_in_the_middle_of_it_loses_nothing_and_repeats_nothing",
            "tests/sinks/test_file_sink.py::test_bytes_whose_commit_failed_are_not_written_twice",
        ),
        short="It ends the process and not the machine: the disk's own promise is not looked at.",
        check=delivery.acked_is_durable,
    ),
    Promise(
        id="lost-ack",
        sentence="A chunk that comes again because its ack was lost is stored once, on another connection and after a "
        "restart too.",
        limits="After a restart with a data folder or a file sink; a forward sink without a data folder forgets, and "
        "leaves it to its receiver, which gets the same id.",
        tests=(
            "tests/delivery/test_dedup_end_to_end.py::"
            "test_a_chunk_that_comes_on_a_new_connection_after_one_that_read_no_ack_is_written_once",
            "tests/delivery/test_dedup_end_to_end.py::test_a_chunk_is_known_after_a_restart",
            "tests/service/test_dedup.py::test_whatever_fails_when_each_record_is_stored_exactly_once",
        ),
        check=delivery.lost_ack,
    ),
    Promise(
        id="look-alikes",
        sentence="Chunks with the same bytes and the same id on one healthy connection are different records, and all "
        "of them are stored.",
        limits="On different connections they are told from a retry only where the ack of the first has arrived and "
        "its connection is still open: once it has ended, the same again counts as a retry, once, for `dedup_s`.",
        tests=(
            "tests/delivery/test_dedup_end_to_end.py::"
            "test_a_chunk_that_comes_twice_on_one_healthy_connection_is_written_twice",
            "tests/service/test_dedup.py::test_the_same_bytes_on_one_healthy_connection_are_different_records",
        ),
        check=delivery.lookalikes_are_kept,
    ),
    Promise(
        id="sink-down",
        sentence="A required sink that is down delays acks and loses nothing: connections stay open, and it goes on by "
        "itself when the sink is back.",
        limits="A receiver that was down for long is tried every ten seconds, so it may take that long.",
        tests=(
            "tests/sinks/test_forward_sink.py::test_whatever_dies_and_when_each_record_arrives_and_once_by_its_id",
            "tests/service/test_sink_worker.py::test_what_fails_is_tried_again_until_it_is_there",
            "tests/delivery/test_chain_faults.py::"
            "test_while_the_disk_of_the_second_fails_nothing_is_acknowledged_by_the_first",
        ),
        check=sinks.sink_down,
    ),
    Promise(
        id="disk-full",
        sentence="On a full disk acks stop and the process lives; within two seconds of room returning it goes on, and "
        "each record is there once.",
        limits="What was learned and incidents are not saved meanwhile, where they lie on the same disk.",
        tests=(
            "tests/delivery/test_disk_faults.py::test_on_a_full_disk_nothing_is_acknowledged_until_there_is_room_again",
            "tests/delivery/test_disk_faults.py::test_while_a_disk_fails_nothing_is_acknowledged",
            "tests/delivery/test_disk_faults.py::test_a_server_that_starts_on_a_full_disk_waits_for_room",
        ),
        short="It forbids the process larger files in place of filling a disk: the same road through the program, "
        "with another error number.",
        check=sinks.disk_full,
    ),
    Promise(
        id="poison",
        sentence="An entry that is no record is kept in the dead-letter file, and the rest of its chunk is stored and "
        "acknowledged, so that no chunk comes again for ever.",
        limits="With neither a data folder nor a file sink there is no dead-letter file, and such entries are counted; "
        "of the file four old ones of `dead_letter_bytes` are kept.",
        tests=(
            "tests/delivery/test_dedup_end_to_end.py::"
            "test_entries_that_are_no_records_go_to_the_dead_letters_and_the_rest_is_written_and_acknowledged",
            "tests/sources/forward/test_server.py::test_a_poison_entry_is_handed_out_and_its_frame_still_acked",
        ),
        check=peers.poison,
    ),
    Promise(
        id="garbage",
        sentence="Whatever bytes a peer sends cost its own connection and nothing else.",
        limits="A peer that may send can still fill the disk with good records.",
        tests=(
            "tests/cli/test_serve_command.py::test_ten_kinds_of_garbage_each_cost_their_own_connection_only",
            "tests/sources/forward/test_hostile.py::test_any_bytes_give_records_that_are_records_or_a_protocol_error",
        ),
        check=peers.garbage,
    ),
    Promise(
        id="shared-key",
        sentence="With `--shared-key-file` nothing is taken from a peer that has not proved that it knows the key, and "
        "no output has the key in it.",
        limits="The key proves who begins a connection; against who can read or change what is under way use TLS.",
        tests=(
            "tests/sources/forward/test_handshake.py::"
            "test_a_wrong_key_or_user_gets_a_pong_that_says_so_and_its_records_are_never_read",
            "tests/sources/forward/test_handshake.py::"
            "test_who_does_not_answer_with_a_ping_is_closed_and_others_are_served",
            "tests/sources/forward/test_handshake.py::test_nothing_that_is_shown_has_a_secret_in_it",
        ),
        check=peers.shared_key,
    ),
    Promise(
        id="bounded-memory",
        sentence="While a sink is slow or down senders wait and memory stays bounded; no connection is closed for it "
        "and no record dropped.",
        limits="A sink with `required = false` drops what finds no room in `optional_bytes`, and counts it.",
        tests=(
            "tests/delivery/test_slow_sink.py::"
            "test_a_sink_that_hardly_moves_makes_senders_wait_and_takes_no_more_memory_than_it_may",
            "tests/sources/forward/test_server.py::test_a_slow_pipeline_stops_the_sender_and_loses_nothing",
            "tests/service/test_room.py::test_no_more_than_one_piece_goes_past_the_bound_and_all_get_their_turn",
        ),
        check=sinks.bounded_memory,
    ),
    Promise(
        id="reload",
        sentence="A configuration that cannot be used changes nothing when it is reloaded, and one that can loses "
        "nothing; neither closes a connection.",
        limits="Addresses, the data folder, delivery and the model take a restart, and the log says so.",
        tests=(_OURS,),
        check=running.reload,
    ),
    Promise(
        id="drain",
        sentence="On SIGTERM what was received is judged, written and acknowledged, and the exit code is 0.",
        limits="For at most `grace_s` (5 seconds) where a sink is slow; what is not written by then has no ack, and "
        "its sender keeps it.",
        tests=(
            _OURS,
            "tests/sources/forward/test_server.py::test_closing_finishes_what_the_peers_have_sent",
            "tests/service/test_sink_worker.py::"
            "test_at_the_end_what_cannot_be_written_is_given_up_and_not_acknowledged",
        ),
        check=delivery.drains,
    ),
    Promise(
        id="plugin-failure",
        sentence="A plugin that traps or never comes back costs its call and not the record.",
        limits='With `on_error = "keep"`, the default; `drop` and `stop` do what they say.',
        tests=(
            "tests/filters/test_sandbox.py::test_no_record_is_lost_doubled_or_moved_under_keep",
            "tests/filters/test_sandbox.py::test_a_loop_is_ended_at_its_limit_and_not_much_later",
            "tests/cli/test_filters.py::test_a_record_a_plugin_fails_at_is_kept_and_the_failure_is_shown",
        ),
        check=plugins.plugin_fails,
    ),
    Promise(
        id="without-model",
        sentence="Alerts go out with their facts, and records are taken, without a model or with one that hangs.",
        limits="The explanation is what is missing then; a runbook that matches is still named.",
        tests=(
            "tests/cli/test_serve_explains.py::"
            "test_killing_the_model_in_mid_answer_costs_neither_an_alert_nor_a_record",
            "tests/explain/test_explainer.py::test_whatever_the_server_does_facts_and_runbook_are_told",
            _OURS,
        ),
        check=alerts.without_a_model,
    ),
    Promise(
        id="nothing-leaves",
        sentence="logllm connects to nothing but this machine unless you name another one.",
        limits="You name one with a sink, a destination of alerts, an action of a runbook, with `--model URL` and "
        "`[egress] allow`, or with `logllm model pull`.",
        tests=(_OURS, "tests/test_config.py::test_the_defaults_listen_on_loopback_only"),
        short="It looks at the process's sockets again and again: one that lives for less than some milliseconds can "
        "be missed.",
        check=alerts.nothing_leaves,
    ),
    Promise(
        id="named-destinations",
        sentence="An address that an option or a variable names is used only if it is this machine or the "
        "configuration allows its host, and the secret in it is never shown.",
        limits="What the configuration file names in full is allowed by that. This machine is what says so by itself "
        "(`localhost`, 127.0.0.1, ::1); where other names lead is the resolver's word. The receiver gets the secret, "
        "and so does whoever reads its logs or, without TLS, the network.",
        tests=(
            "tests/cli/test_serve_alerts.py::"
            "test_an_option_may_name_another_machine_only_where_the_configuration_allows_it",
            "tests/cli/test_serve_alerts.py::test_slack_is_told_by_the_address_in_the_environment_which_nothing_shows",
            "tests/notify/slack/test_slack_config.py::test_nothing_that_shows_a_configuration_shows_its_secrets",
        ),
        check=notify.destinations_are_named,
    ),
    Promise(
        id="alerts-arrive",
        sentence="An alert that was kept arrives although logllm is killed: once, but for the one that was under way, "
        "which comes again under the same id.",
        limits="With a data folder, on a disk that keeps what it says it has, and to a destination that takes it "
        "within `longest_s` (a day); what it will never take becomes a dead letter, which is shown. Of many incidents "
        "at once there is one message, and of what is over before anybody was told there may be none. Slack shows no "
        "ids and drops nothing that comes again: there the one under way may be seen twice.",
        tests=(
            "tests/notify/outbox/test_kill.py::"
            "test_killed_forty_times_each_alert_arrives_once_in_order_but_for_those_in_flight",
            "tests/notify/dispatch/test_dispatch_kill.py::test_killed_twenty_times_every_event_is_told_once_to_each_destination",
            "tests/cli/test_serve_alerts.py::test_what_waits_when_it_is_killed_arrives_after_the_next_start",
        ),
        short="It kills the service twice; the tests do it forty times.",
        check=notify.alerts_arrive,
    ),
    Promise(
        id="slack-text",
        sentence="Text from a log in a Slack message can neither mention anybody, nor link, nor format.",
        limits="As Slack documents how messages are read; what an integration of yours makes of the text is its own. "
        "Text can still lie: it stands where a log line stands.",
        tests=(
            "tests/notify/slack/test_slack_hostile.py::"
            "test_hostile_text_in_every_field_leaves_a_message_that_slack_takes_and_nothing_live",
            "tests/notify/slack/test_slack_hostile.py::test_any_text_changes_the_words_of_a_message_and_not_its_shape",
        ),
        short="It looks at what is sent to a Slack of its own.",
        check=notify.harmless_in_slack,
    ),
    Promise(
        id="nothing-runs",
        sentence="Nothing that a log line or a model says runs: only what a runbook of yours declares, the "
        "configuration allows, and a person approved or the runbook lets go by itself.",
        limits="Who writes log lines can write those that a runbook looks for, and so have its action offered or, with "
        '`mode = "auto"`, run in vain, as often as its limit says. What an approved program does with its arguments is '
        "its own.",
        tests=(
            "tests/actions/test_hostile.py::test_no_line_with_any_answer_of_a_model_runs_anything",
            "tests/actions/test_hostile.py::test_a_model_that_has_its_way_with_the_runbook_and_the_severity_still_runs_nothing",
        ),
        short="Three lines and one model that asks for a command; the tests try more than a hundred.",
        check=actions.only_what_is_approved,
    ),
    Promise(
        id="cited-is-kept",
        sentence="With `--reduce` each record that an incident cites goes on to the sinks.",
        limits="Also where it was held back first, for as long as the service runs: after kill -9 what was held back "
        "is gone. What a plugin raises is evidence without a record. What no incident cites is thinned: keep a copy of "
        "it all where you need one.",
        tests=(
            "tests/service/test_reduction.py::test_what_an_incident_cites_and_what_was_said_around_it_goes_on",
            "tests/cli/test_replay_command.py::"
            "test_of_a_day_with_fifty_incidents_all_that_they_cite_and_its_context_is_in_the_output",
        ),
        short="A few hours of one service; `logllm replay --reduce --proof FILE` does it with a log of yours.",
        check=reduce.cited_is_kept,
    ),
    Promise(
        id="terminal",
        sentence="Text from a log cannot steer your terminal.",
        limits="In what logllm prints; a file sink holds what came, escape sequences too, as JSON writes them.",
        tests=(
            "tests/cli/test_render.py::test_a_log_line_cannot_steer_the_terminal_nor_be_read_as_markup",
            "tests/cli/test_render.py::test_no_text_makes_a_line_wider_than_the_console_or_prints_a_control_character",
        ),
        check=text.terminal,
    ),
    Promise(
        id="secrets",
        sentence="Secrets of the known kinds are masked in every event.",
        limits="Masking goes by rules: a secret of a form that no rule knows stays (docs/redaction.md says which are "
        "known); names of services stay; records in sinks are as they came, unless the `redact` plugin changes them.",
        tests=(
            "tests/explain/redact/test_corpus.py::test_of_each_kind_at_least_95_in_100_are_masked_whole",
            "tests/explain/redact/test_corpus.py::test_of_lines_that_only_resemble_at_most_5_in_1000_lose_something",
            "tests/explain/redact/test_forms.py::test_a_secret_is_masked_however_it_is_written",
            "tests/explain/redact/test_redact.py::test_no_secret_survives_what_stands_around_it",
            "tests/samples/test_samples.py::"
            "test_the_invented_password_and_token_are_in_the_log_and_in_nothing_logllm_prints",
        ),
        check=text.secrets_masked,
    ),
)
