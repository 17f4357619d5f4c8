#include "proxy/session/questions.hpp"

#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"

namespace pgsteer::proxy {

using routing::Clock;
using routing::Consistency;
using routing::Effect;
using routing::Slot;
using routing::TransactionStatus;

namespace {

// One that makes the primary flush what was written in vain before: no replica has it sooner. Its
// own commit does not wait for replicas.
constexpr std::string_view kFlushingSample =
    "SET LOCAL synchronous_commit TO local; "
    "SELECT pg_catalog.pg_current_wal_insert_lsn() "
    "FROM pg_catalog.pg_logical_emit_message(true, 'pgsteer', '')";
// A transaction each, and never one with the client's: its snapshot might be older than the answer.
constexpr std::string_view kSample = "SELECT pg_catalog.pg_current_wal_insert_lsn()";
constexpr std::string_view kVerify =
    "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.pg_last_wal_replay_lsn()";

bool may_hold_a_transaction_open(const routing::Statement& statement, bool& open) {
    if (statement.statement_count == 0 || statement.copies_in) return true;
    for (const auto& effect : statement.effects) {
        if (effect.kind == Effect::Kind::begin) open = true;
        if (effect.kind == Effect::Kind::commit || effect.kind == Effect::Kind::rollback)
            open = open && effect.form == Effect::Form::chain;
    }
    return false;
}

}  // namespace

void Questions::add_verification(wire::Buffer& out) {
    auto& side = sides_[Slot::replica];
    wire::encode_query(out, kVerify);
    side.lease->replies.push({.what = Expect::query, .internal = true, .purpose = Purpose::verify});
    side.verification.is_pending = true;
    side.told_position.reset();
}

void Questions::add_sample(const BatchFacts& facts, const Request& request, wire::Buffer& out) {
    const auto& side = sides_[Slot::primary];
    auto& freshness = lodging_.around.freshness();
    const auto level = memory_.freshness.level(memory_.state.read_options());
    if (!lodging_.config().routing.sample_on_primary || level == Consistency::eventual) return;
    if (!request.does.raises_floor || request.open || course_.requests.size() != 1 ||
        side.sample.is_pending)
        return;
    if (!ends_outside_transaction(facts)) return;
    if (!memory_.freshness.is_sample_worthwhile() && !freshness.writes().is_asked(Clock::now()))
        return;
    const auto interval = lodging_.config().routing.sample_interval;
    if (interval.count() > 0 && !freshness.may_sample(Clock::now(), interval)) return;
    if (!side.lease->replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::sample}))
        return;
    wire::encode_query(out, kSample);
    asked(client_.received_at);
}

// False also where the end of the batch may be skipped, and all behind it: by an error in front of
// a Query.
bool Questions::ends_outside_transaction(const BatchFacts& facts) const {
    bool open = memory_.state.transaction_on().has_value();
    return facts.ends && facts.executed &&
           !may_hold_a_transaction_open(facts.executed->statement, open) && !open;
}

void Questions::asked(routing::TimePoint at) {
    auto& side = sides_[Slot::primary];
    side.sample.is_pending = true;
    side.sample.asked_at = at;
    side.told_position.reset();
}

void Questions::note_written(Slot slot, TransactionStatus status) {
    if (slot != Slot::primary || course_.requests.empty() || !course_.requests.front().does.writes)
        return;
    if (status != TransactionStatus::idle && !course_.requests.front().does.may_commit) return;
    auto& sample = sides_[slot].sample;
    auto& writes = lodging_.around.freshness().writes();
    if (!sample.is_pending) return writes.acknowledged(course_.replies_at);
    writes.acknowledged_before_position(sample.awaited, course_.replies_at);
}

bool Questions::may_flush() const {
    const auto& config = lodging_.config();
    const auto& lease = sides_[Slot::primary].lease;
    return memory_.freshness.is_unflushed() && config.routing.sample_on_primary &&
           config.health.nudge_interval.count() > 0 && lease && lease->replies.empty() &&
           lease->transaction_status == TransactionStatus::idle && !memory_.state.transaction_on();
}

void Questions::flush_if_due() {
    if (!may_flush()) return;
    const auto& lease = sides_[Slot::primary].lease;
    memory_.freshness.flushed();
    if (!lease->replies.push({.what = Expect::query, .internal = true, .purpose = Purpose::sample}))
        return;
    wire::Buffer out;
    wire::encode_query(out, kFlushingSample);
    lease->stream.write(wire::Bytes{out});
    asked(Clock::now());
}

void Questions::note_position(Slot slot, wire::Bytes row) {
    const auto columns = wire::decode_data_row(row);
    if (!columns || columns->empty()) return;
    const bool is_standby = columns->size() == 2 && columns->front() == "t";
    if (slot == Slot::replica && !is_standby) return;
    sides_[slot].told_position = routing::parse_lsn(columns->back());
}

Verdict Questions::on_position_told(Purpose purpose) {
    return purpose == Purpose::sample ? sample_told() : verification_told();
}

Verdict Questions::sample_told() {
    auto& side = sides_[Slot::primary];
    auto sample = std::exchange(side.sample, {});
    const auto& topology = lodging_.around.topology();
    const auto timeline = topology.timeline();
    if (!side.told_position || timeline == 0 || topology.primary != side.lease->server)
        return Verdict::swallow;
    const routing::WalPosition position{timeline, routing::before_page_header(*side.told_position)};
    memory_.freshness.sampled(position, sample.asked_at);
    sample.awaited.told(position);
    return Verdict::swallow;
}

Verdict Questions::verification_told() {
    auto& side = sides_[Slot::replica];
    const auto& connection = *side.lease.connection();
    side.verification.is_pending = false;
    if (course_.requests.empty()) return Verdict::broken;
    const auto& needed = course_.requests.front().needed;
    const auto& server = lodging_.around.topology()[connection.server];
    const bool same_run = server.incarnation.number == connection.origin.incarnation &&
                          server.incarnation.timeline == needed.timeline;
    const bool passed = same_run && side.told_position && *side.told_position >= needed.lsn;
    if (same_run && side.told_position)
        lodging_.around.freshness().learnt().learn(connection.server, connection.origin.incarnation,
                                                   *side.told_position);
    lodging_.around.freshness().verification(connection.server).ended(passed, course_.replies_at);
    auto& counters = lodging_.around.counters();
    (passed ? counters.verifications_passed : counters.verifications_behind).add();
    if (!passed) {
        side.verification.is_behind = true;
        return Verdict::run_again;
    }
    memory_.freshness.proven(connection.server, connection.origin.incarnation, needed);
    return Verdict::swallow;
}

void Questions::skipped(Slot slot, Purpose purpose) {
    auto& side = sides_[slot];
    if (purpose == Purpose::sample) side.sample = {};
    if (purpose == Purpose::verify) side.verification.is_pending = false;
}

}  // namespace pgsteer::proxy
