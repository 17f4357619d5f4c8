// What this session must not miss, and how replicas prove that they have it: positions sampled on
// the primary, positions asked of a replica right before a read, and waiting.
#include "conf/log.hpp"
#include "proxy/session/client_session.hpp"
#include "proxy/wire/backend.hpp"
#include "proxy/wire/frontend.hpp"
#include "proxy/wire/message_types.hpp"
#include "proxy/shared/surroundings.hpp"
#include "routing/startup_options.hpp"

#include <fmt/format.h>

namespace pgsteer::proxy {

using routing::Clock;
using routing::Consistency;
using routing::Effect;
using routing::Shows;
using routing::TransactionStatus;
using namespace std::chrono_literals;

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

constexpr auto kLookAgain = 500us;      // while a read waits for a replica
constexpr auto kStrictPatience = 50ms;  // the least that a strict read waits, which always has to

// Sets it in `options`; "" = well done, or not an option of ours.
template <class Options>
std::string option_problem(std::string_view name, std::string_view value, Options&& options) {
    using Outcome = routing::ReadOptions::Outcome;
    if (!name.starts_with(routing::kOptionPrefix)) return {};
    switch (options.set(name.substr(routing::kOptionPrefix.size()), value)) {
        case Outcome::done:
            return {};
        case Outcome::unknown_name:
            return fmt::format("unrecognized configuration parameter \"{}\"", name);
        case Outcome::bad_value:
            return fmt::format("invalid value for parameter \"{}\": \"{}\"", name, value);
        case Outcome::read_only:
            return fmt::format("parameter \"{}\" cannot be changed", name);
    }
    return {};
}

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

Consistency ClientSession::level_of(conf::Consistency level) {
    switch (level) {
        case conf::Consistency::eventual:
            return Consistency::eventual;
        case conf::Consistency::session:
            return Consistency::session;
        case conf::Consistency::global:
            return Consistency::global;
        case conf::Consistency::strict:
            return Consistency::strict;
    }
    return Consistency::strict;
}

// What is wrong with a SET pgsteer.* among these; "" = nothing. In a transaction the server is not
// told of an error that it has not seen: there such a SET has no effect.
std::string ClientSession::bad_option(const Batch& batch) const {
    if (state_.transaction_on()) return {};
    for (const auto& item : batch.items) {
        if (!item.statement) continue;
        for (const auto& effect : item.statement->statement.effects) {
            if (effect.kind != Effect::Kind::set ||
                !effect.name.starts_with(routing::kOptionPrefix))
                continue;
            auto problem = option_problem(effect.name, effect.value, routing::ReadOptions{});
            if (!problem.empty()) return problem;
        }
    }
    return {};
}

// The level of this user and database, and what the startup packet asks for. False: the client has
// been refused.
bool ClientSession::start_options() {
    const auto& config = worker_.config();
    auto level = config.routing.consistency;
    for (const auto& database : config.databases) {
        if (database.name != who_.database && database.name != "*") continue;
        level = database.consistency.value_or(level);
        break;
    }
    for (const auto& user : config.auth.users)
        if (user.name == who_.user) level = user.consistency.value_or(level);
    freshness_.start_with(level_of(level));

    routing::ReadOptions options;
    routing::TransactionModes modes;
    for (const auto& [name, value] : routing::startup_settings(who_.parameters)) {
        if (name == "default_transaction_isolation")
            modes.isolation = routing::parse_isolation(value);
        if (name == "default_transaction_read_only") modes.read_only = routing::parse_bool(value);
        const auto problem = option_problem(name, value, options);
        if (problem.empty()) continue;
        login_->refuse(ProxyErrc::invalid_option, info(ProxyErrc::invalid_option).sqlstate,
                       problem);
        return false;
    }
    state_.start_with(options);
    state_.start_with(modes);
    return true;
}

routing::ReadOptions ClientSession::options_for(const routing::Statement& statement) const {
    const auto& session = state_.read_options();
    const auto* of_transaction = transaction_.options();
    if (of_transaction == nullptr) return session.overlaid_by(statement.options);
    return session.overlaid_by(*of_transaction).overlaid_by(statement.options);
}

routing::TimePoint ClientSession::wait_until(const routing::Statement& statement,
                                             routing::TimePoint arrived) const {
    if (arrived == routing::kNever || transaction_.has_to_stay()) return routing::kNever;
    const auto options = options_for(statement);
    std::chrono::milliseconds patience =
        options.freshness_wait.value_or(worker_.config().routing.freshness_wait);
    if (freshness_.level(options) == Consistency::strict)
        patience = std::max<std::chrono::milliseconds>(patience, kStrictPatience);
    return patience.count() == 0 ? routing::kNever : arrived + patience;
}

awaitable<void> ClientSession::wait_for_freshness() {
    Timer timer{worker_.executor(), Clock::now() + kLookAgain};
    co_await timer.async_wait(as_result);
}

// Its messages are all here and will be kept, so that they can be sent once more.
bool ClientSession::may_verify(const Batch& batch) const {
    return batch.ends && !moved_ && batch.bytes <= 2 * worker_.config().routing.retry_buffer &&
           !requests_.is_open();
}

void ClientSession::add_verification(Slot slot, wire::Buffer& out) {
    auto& side = this->side(slot);
    wire::encode_query(out, kVerify);
    side.lease->replies.push({.what = Expect::query, .internal = true, .purpose = Purpose::verify});
    side.verifying = true;
    side.told_position.reset();
}

// Behind what the primary was asked to do, unless a transaction is or may be open then.
void ClientSession::add_sample(const BatchFacts& facts,
                               const Request& request,
                               wire::Buffer& out) {
    auto& side = this->side(Slot::primary);
    const auto level = freshness_.level(state_.read_options());
    if (!worker_.config().routing.sample_on_primary || level == Consistency::eventual) return;
    if (!request.raises_floor || request.open || requests_.size() != 1 || side.sample_pending)
        return;
    if (!ends_outside_transaction(facts)) return;
    if (!freshness_.is_sample_worthwhile() && !worker_.writes().is_asked(Clock::now())) return;
    const bool is_bounded = worker_.config().routing.sample_interval.count() > 0;
    if (is_bounded && !worker_.may_sample(Clock::now())) return;
    if (!side.lease->replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::sample}))
        return;
    wire::encode_query(out, kSample);
    side.sample_pending = true;
    side.sampled_at = received_at_;
    side.told_position.reset();
}

// The oldest request is being acknowledged, at least in part: others may not miss what it has
// committed. `status`: of the transaction in which it ran.
void ClientSession::note_written(Slot slot, TransactionStatus status) {
    if (slot != Slot::primary || requests_.empty() || !requests_.front().writes) return;
    if (status != TransactionStatus::idle && !requests_.front().may_commit) return;
    auto& side = this->side(slot);
    auto& writes = worker_.writes();
    if (!side.sample_pending) return writes.acknowledged(replies_at_);
    writes.acknowledged_before_position(side.awaited, replies_at_);
}

bool ClientSession::may_flush() const {
    const auto& config = worker_.config();
    const auto& lease = side(Slot::primary).lease;
    return freshness_.is_unflushed() && config.routing.sample_on_primary &&
           config.health.nudge_interval.count() > 0 && lease && lease->replies.empty() &&
           lease->transaction_status == TransactionStatus::idle && !state_.transaction_on();
}

void ClientSession::send_flushing_sample() {
    auto& side = this->side(Slot::primary);
    freshness_.flushed();
    if (!side.lease->replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::sample}))
        return;
    wire::Buffer out;
    wire::encode_query(out, kFlushingSample);
    side.lease->stream.write(wire::Bytes{out});
    side.sample_pending = true;
    side.sampled_at = Clock::now();
    side.told_position.reset();
}

// False also where the end of the batch may be skipped, and all behind it: by an error in front of
// a Query.
bool ClientSession::ends_outside_transaction(const BatchFacts& facts) const {
    bool open = state_.transaction_on().has_value();
    return facts.ends && facts.executed &&
           !may_hold_a_transaction_open(facts.executed->statement, open) && !open;
}

// SHOW pgsteer.<name> runs on a server like any other, in any protocol: the value gets there first.
void ClientSession::add_shown(Slot slot, wire::Buffer& out, const Request& request) {
    if (!request.statement || side(slot).lease->transaction_status == TransactionStatus::failed)
        return;
    const auto shows = request.statement->statement.shows;
    if (shows == Shows::nothing) return;
    const auto& topology = worker_.topology();
    std::string sql;
    if (shows == Shows::lsn && slot == Slot::primary && topology.primary) {
        sql = fmt::format(
            "SELECT pg_catalog.set_config('pgsteer.lsn', pg_catalog.concat('{}/', "
            "pg_catalog.pg_current_wal_insert_lsn()), false)",
            topology[*topology.primary].incarnation.timeline);
    } else if (shows == Shows::last_route) {
        sql = fmt::format("SELECT pg_catalog.set_config('pgsteer.last_route', '{}', false)",
                          last_route_text());
    }
    if (sql.empty()) return;
    if (side(slot).lease->replies.push(
            {.what = Expect::query, .internal = true, .purpose = Purpose::show}))
        wire::encode_query(out, sql);
}

void ClientSession::note_route(Slot slot, const Request& request) {
    if (request.statement && request.statement->statement.shows != Shows::nothing) return;
    last_route_ = {request.server, slot, request.reason, request.retried, Clock::duration{-1}};
    const auto fresh_as_of = worker_.topology()[request.server].fresh_as_of;
    if (slot == Slot::replica && fresh_as_of != routing::kNever)
        last_route_->staleness = std::max(Clock::duration{0}, replies_at_ - fresh_as_of);
}

// Without what would have to be quoted in SQL.
std::string ClientSession::last_route_text() const {
    if (!last_route_) return "";
    std::string text = fmt::format("server={} role={} reason={}",
                                   worker_.config().servers[last_route_->server.index].name,
                                   last_route_->slot == Slot::replica ? "replica" : "primary",
                                   routing::name(last_route_->reason));
    if (last_route_->staleness.count() >= 0) {
        const auto stale =
            std::chrono::duration_cast<std::chrono::milliseconds>(last_route_->staleness);
        text += fmt::format(" staleness={}ms", stale.count());
    }
    if (last_route_->retried) text += " retried";
    if (const auto& function = state_.pinned_by(); !function.empty())
        text += fmt::format(" backend_state={}", function);
    for (char& c : text)
        if (c == '\'' || c == '\\') c = '?';
    return text;
}

// pgsteer.explain = on. Only between two answers, where a notice is in nobody's way.
void ClientSession::explain_route(const Choice& choice) {
    if (choice.failure || !side(choice.slot).lease) return;
    const auto& server = worker_.config().servers[side(choice.slot).lease->server.index];
    const auto text = fmt::format("pgsteer: {} {}, reason {}",
                                  choice.slot == Slot::replica ? "replica" : "primary", server.name,
                                  routing::name(choice.reason));
    wire::Buffer out;
    wire::encode_notice(out, {"NOTICE", "00000", text});
    client_.write(wire::Bytes{out});
}

void ClientSession::note_position(Slot slot, wire::Bytes body) {
    const auto row = wire::decode_data_row(body);
    if (!row || row->empty()) return;
    const bool is_standby = row->size() == 2 && row->front() == "t";
    if (slot == Slot::replica && !is_standby) return;
    side(slot).told_position = routing::parse_lsn(row->back());
}

// The answer to a question of ours is complete.
ClientSession::Verdict ClientSession::on_position_told(Slot slot, Purpose purpose) {
    auto& side = this->side(slot);
    const auto& connection = *side.lease.connection();
    const auto& topology = worker_.topology();
    const auto timeline = topology.timeline();
    if (purpose == Purpose::sample) {
        side.sample_pending = false;
        auto awaited = std::move(side.awaited);
        if (side.told_position && timeline != 0 && topology.primary == connection.server) {
            const routing::WalPosition position{
                timeline, routing::before_page_header(*side.told_position)};
            freshness_.sampled(position, side.sampled_at);
            awaited.told(position);
        }
        return Verdict::swallow;
    }
    side.verifying = false;
    if (requests_.empty()) return Verdict::broken;
    const auto& needed = requests_.front().needed;
    const auto& server = topology[connection.server];
    const bool same_run = server.incarnation.number == connection.incarnation &&
                          server.incarnation.timeline == needed.timeline;
    const bool passed = same_run && side.told_position && *side.told_position >= needed.lsn;
    if (same_run && side.told_position)
        worker_.learnt().learn(connection.server, connection.incarnation, *side.told_position);
    worker_.verification(connection.server).ended(passed, replies_at_);
    auto& counters = worker_.mutable_counters();
    (passed ? counters.verifications_passed : counters.verifications_behind).add();
    if (!passed) {
        side.behind = true;
        return Verdict::run_again;
    }
    freshness_.proven(connection.server, connection.incarnation, needed);
    return Verdict::swallow;
}

}  // namespace pgsteer::proxy
