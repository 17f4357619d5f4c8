// SessionState and DeferredTransaction against small models of servers. What a client does runs on
// the connection that it would run on, and besides on one server alone. Between transactions both
// connections have to have, once what is pending was applied, the settings of that one server;
// a transaction opened once more has to be the one that it was.
#include "routing/classify.hpp"
#include "routing/deferred_transaction.hpp"
#include "routing/search_path.hpp"
#include "routing/session_state.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using namespace pgsteer::routing;

constexpr std::size_t kMaxSteps = 400;

// What led to a failure, to be read by whoever looks into it.
std::string& history() {
    static std::string text;
    return text;
}

void require(bool holds, const char* what, const std::string& detail = {}) {
    if (holds) return;
    std::fprintf(stderr, "%s%s\n%s\n", history().c_str(), what, detail.c_str());
    std::abort();
}

// --- a server's connection ---

using Setting = std::optional<std::string>;  // nullopt: its default

struct Values {
    std::map<std::string, std::string> session;  // without those that have their default
    std::map<std::string, Setting> local;        // until the end of the transaction

    [[nodiscard]] Setting effective(const std::string& name) const {
        if (const auto found = local.find(name); found != local.end()) return found->second;
        if (const auto found = session.find(name); found != session.end()) return found->second;
        return std::nullopt;
    }
    void assign(const std::string& name, const Setting& value, bool is_local) {
        if (is_local) {
            local[name] = value;
            return;
        }
        local.erase(name);
        session.erase(name);
        if (value) session[name] = *value;
    }
    bool operator==(const Values&) const = default;
};

bool is_scope(const std::string& name) { return name == "role" || name == "session_authorization"; }

bool stays_on_primary(const std::string& name) { return name.starts_with("default_transaction_"); }

bool is_ascii(const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

// Words in lower case, what is in quotes without them, and single characters.
class Words {
public:
    explicit Words(std::string_view sql) {
        for (std::size_t at = 0; at < sql.size();) at = read(sql, at);
    }
    bool accept(std::string_view word) {
        if (at_end() || words_[next_].quoted || words_[next_].text != word) return false;
        ++next_;
        return true;
    }
    [[nodiscard]] bool at_end() const { return next_ == words_.size(); }
    std::string take() { return at_end() ? std::string{} : words_[next_++].text; }
    std::string take_name() {
        std::string name = take();
        while (accept(".")) name += "." + take();
        return name;
    }

private:
    struct Word {
        std::string text;
        bool quoted;
    };
    static bool is_part(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || (c & 0x80) != 0;
    }
    std::size_t read(std::string_view sql, std::size_t at) {
        if (sql[at] == ' ') return at + 1;
        std::size_t end = at + 1;
        if (sql[at] == '\'') {
            end = sql.find('\'', at + 1);
            words_.push_back({std::string{sql.substr(at + 1, end - at - 1)}, true});
            return end + 1;
        }
        if (sql[at] == '"') {  // a name: of ours, and in lower case
            end = sql.find('"', at + 1);
            words_.push_back({std::string{sql.substr(at + 1, end - at - 1)}, false});
            return end + 1;
        }
        while (is_part(sql[at]) && end < sql.size() && is_part(sql[end])) ++end;
        words_.push_back({std::string{sql.substr(at, end - at)}, false});
        for (char& c : words_.back().text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
        return end;
    }
    std::vector<Word> words_;
    std::size_t next_ = 0;
};

class Server {
public:
    enum class Kind { primary, replica, reference };
    struct Answer {
        bool done = false;
        std::string tag;
    };

    explicit Server(Kind kind) : kind_(kind) {}

    // One statement. After one that failed in a request only sync() may follow.
    Answer run(const std::string& sql) {
        if (block_ == Block::none) {
            start({});
            block_ = Block::implicit;
        }
        Words words{sql};
        Answer answer = block_ == Block::failed ? end_failed(words) : execute(words);
        if (!answer.done) fail();
        return answer;
    }

    void fail() {
        if (block_ == Block::none) start({});
        const bool is_open = block_ == Block::open || block_ == Block::failed;
        block_ = is_open ? Block::failed : Block::implicit_failed;
    }

    // The end of a request.
    void sync() {
        if (block_ == Block::implicit) commit();
        if (block_ == Block::implicit_failed) roll_back();
    }

    [[nodiscard]] TransactionStatus status() const {
        if (block_ == Block::open) return TransactionStatus::in_block;
        return block_ == Block::failed ? TransactionStatus::failed : TransactionStatus::idle;
    }

    struct Modes {
        std::string isolation;
        bool read_only = false;
        bool operator==(const Modes&) const = default;
    };
    struct State {  // what a savepoint brings back
        Values values;
        Modes modes;
        bool temporary = false;
        std::size_t channel_changes = 0;
        std::uint64_t cursors_born = 0;
    };
    struct Savepoint {
        std::string name;
        State state;
    };

    [[nodiscard]] const Values& values() const { return now_.values; }
    [[nodiscard]] const Modes& modes() const { return now_.modes; }
    [[nodiscard]] const std::vector<Savepoint>& savepoints() const { return savepoints_; }
    [[nodiscard]] bool has_temporary() const { return now_.temporary; }
    [[nodiscard]] bool has_channels() const { return !channels_.empty(); }
    [[nodiscard]] bool has_cursors() const { return !cursors_.empty(); }
    [[nodiscard]] bool has_locks() const { return locks_; }
    [[nodiscard]] bool has_prepared() const { return !prepared_.empty(); }
    // A setting was made by rights that SET LOCAL lent: repeated elsewhere it is refused.
    [[nodiscard]] bool used_lent_rights() const { return used_lent_rights_; }

private:
    enum class Block { none, implicit, implicit_failed, open, failed };

    static Answer done(std::string tag) { return {true, std::move(tag)}; }

    // --- transactions ---

    void start(const Modes& modes) {
        now_.values.local.clear();
        now_.channel_changes = 0;
        channel_changes_.clear();
        before_ = now_;
        now_.modes = modes;
        now_.cursors_born = before_.cursors_born = cursors_born_;
        savepoints_.clear();
    }
    void commit() {
        now_.values.local.clear();
        for (const auto& [adds, name] : channel_changes_) {
            if (adds)
                channels_.insert(name);
            else if (name == "*")
                channels_.clear();
            else
                channels_.erase(name);
        }
        channel_changes_.clear();
        savepoints_.clear();
        block_ = Block::none;
    }
    void roll_back() {
        restore(before_);
        now_.values.local.clear();
        channel_changes_.clear();
        savepoints_.clear();
        block_ = Block::none;
    }
    void restore(const State& state) {
        now_ = state;
        channel_changes_.resize(state.channel_changes);
        std::erase_if(cursors_,
                      [&](const auto& cursor) { return cursor.second >= state.cursors_born; });
    }
    State snapshot() {
        now_.channel_changes = channel_changes_.size();
        now_.cursors_born = cursors_born_;
        return now_;
    }
    bool in_block() const { return block_ == Block::open || block_ == Block::failed; }

    Answer end(Words& words, bool commits) {
        const bool chains = words.accept("and") && words.accept("chain");
        if (chains && !in_block()) return {};
        const bool commits_indeed = commits && block_ != Block::failed;
        const Modes modes = now_.modes;
        commits_indeed ? commit() : roll_back();
        if (chains) {
            start(modes);
            block_ = Block::open;
        }
        return done(commits_indeed ? "COMMIT" : "ROLLBACK");
    }

    Answer end_failed(Words& words) {
        if (words.accept("commit")) return end(words, true);
        if (!words.accept("rollback")) return {};
        return words.accept("to") ? roll_back_to(words.take()) : end(words, false);
    }

    [[nodiscard]] std::optional<std::size_t> find(const std::string& name) const {
        for (std::size_t i = savepoints_.size(); i > 0; --i)
            if (savepoints_[i - 1].name == name) return i - 1;
        return std::nullopt;
    }
    Answer roll_back_to(const std::string& name) {
        const auto found = in_block() ? find(name) : std::nullopt;
        if (!found) return {};
        restore(savepoints_[*found].state);
        savepoints_.resize(*found + 1);
        block_ = Block::open;
        return done("ROLLBACK");
    }
    Answer release(const std::string& name) {
        const auto found = in_block() ? find(name) : std::nullopt;
        if (!found) return {};
        savepoints_.resize(*found);
        return done("RELEASE");
    }
    Answer savepoint(const std::string& name) {
        if (!in_block()) return {};
        savepoints_.push_back({name, snapshot()});
        return done("SAVEPOINT");
    }

    Answer begin(Words& words) {
        if (in_block()) return done("BEGIN");  // with a warning
        now_.modes.isolation =
            now_.values.effective("default_transaction_isolation").value_or("read committed");
        now_.modes.read_only =
            now_.values.effective("default_transaction_read_only").value_or("off") == "on";
        if (!read_modes(words, now_.modes)) return {};
        block_ = Block::open;
        return done("BEGIN");
    }
    // False: a standby takes no READ WRITE.
    bool read_modes(Words& words, Modes& modes) const {
        while (!words.at_end()) {
            if (words.accept("read")) {
                modes.read_only = words.accept("only");
                if (words.accept("write") && kind_ == Kind::replica) return false;
            } else if (words.accept("isolation")) {
                words.accept("level");
                modes.isolation = words.take();
                modes.isolation += " " + words.take();
            } else {
                words.take();
            }
        }
        return true;
    }

    // --- settings ---

    [[nodiscard]] bool is_admin() const {
        const auto role = now_.values.effective("role");
        return role ? *role == "admin" : now_.values.effective("session_authorization") == "admin";
    }

    Answer assign(const std::string& name, Setting value, bool is_local) {
        if (name.starts_with("priv.")) {
            if (!is_admin()) return {};
            for (const auto& [local, unused] : now_.values.local)
                used_lent_rights_ = used_lent_rights_ || is_scope(local);
        }
        if (name == "role" && value == "none") value.reset();
        if (name == "session_authorization") now_.values.assign("role", std::nullopt, is_local);
        if (name == "datestyle" && value) value = date_style(*value);
        if (value && !is_ascii(*value))  // means something in an encoding only
            *value += " in " + now_.values.effective("client_encoding").value_or("utf8");
        now_.values.assign(name, value, is_local);
        return done("SET");
    }

    // One of both parts, the other one stays.
    [[nodiscard]] Setting date_style(const std::string& part) const {
        const std::string before = now_.values.effective("datestyle").value_or("iso, mdy");
        const auto comma = before.find(',');
        const bool is_order = part == "dmy" || part == "mdy" || part == "ymd";
        std::string after =
            is_order ? before.substr(0, comma) + ", " + part : part + before.substr(comma);
        if (after == "iso, mdy") return std::nullopt;
        return after;
    }

    void reset_all() {
        const auto is_reset = [](const auto& setting) { return !is_scope(setting.first); };
        std::erase_if(now_.values.session, is_reset);
        std::erase_if(now_.values.local, is_reset);
    }

    Answer set(Words& words) {
        if (words.accept("transaction")) {
            return !in_block() || read_modes(words, now_.modes) ? done("SET") : Answer{};
        }
        const bool is_local = words.accept("local");
        if (!is_local && words.accept("session")) {
            if (words.accept("authorization")) return set_to(words, "session_authorization", false);
            return characteristics(words);
        }
        if (words.accept("session"))
            return words.accept("authorization"), set_to(words, "session_authorization", is_local);
        std::string name = words.take_name();
        if (!words.accept("=")) words.accept("to");
        return set_to(words, name, is_local);
    }
    Answer characteristics(Words& words) {  // CHARACTERISTICS AS TRANSACTION ...
        Modes modes{"", false};
        const bool names_level =
            (words.take(), words.take(), words.take(), words.accept("isolation"));
        if (names_level) {
            words.accept("level");
            modes.isolation = words.take();
            modes.isolation += " " + words.take();
            return assign("default_transaction_isolation", modes.isolation, false);
        }
        read_modes(words, modes);
        return assign("default_transaction_read_only", modes.read_only ? "on" : "off", false);
    }
    Answer set_to(Words& words, const std::string& name, bool is_local) {
        if (words.accept("default")) return assign(name, std::nullopt, is_local);
        std::string value = words.take();
        while (words.accept(",")) value += ", " + words.take();
        return assign(name, value, is_local);
    }

    Answer reset(Words& words) {
        if (words.accept("all")) {
            reset_all();
            return done("RESET");
        }
        if (words.accept("session"))
            return words.accept("authorization"), reset_one("session_authorization");
        return reset_one(words.take_name());
    }
    Answer reset_one(const std::string& name) {
        Answer answer = assign(name, std::nullopt, false);
        if (answer.done) answer.tag = "RESET";
        return answer;
    }

    // SELECT [set_config('name', 'value', local)]; the value may be computed.
    Answer select(Words& words) {
        const std::string function = words.take_name();
        if (function == "fails") return {};
        if (function == "pg_advisory_lock") locks_ = true;
        if (function == "pg_advisory_unlock_all") locks_ = false;
        if (function != "set_config" && function != "pg_catalog.set_config")
            return done("SELECT 1");
        words.accept("(");
        const std::string name = words.take();
        words.accept(",");
        if (words.accept("lower")) words.accept("(");
        const std::string value = words.take();
        words.accept(")");
        words.accept(",");
        Answer answer = assign(name, value, words.accept("true"));
        if (answer.done) answer.tag = "SELECT 1";
        return answer;
    }

    // --- the rest ---

    Answer discard(Words& words) {
        if (words.accept("temp")) {
            now_.temporary = false;
            return done("DISCARD TEMP");
        }
        if (in_block() || !is_alone_) return {};
        now_.values = {};
        now_.temporary = false;
        cursors_.clear();
        channels_.clear();
        prepared_.clear();
        locks_ = false;
        used_lent_rights_ = false;
        commit();  // at once
        return done("DISCARD ALL");
    }
    Answer listen(Words& words, bool adds) {
        if (kind_ == Kind::replica && adds) return {};
        channel_changes_.emplace_back(adds, words.take());
        return done(adds ? "LISTEN" : "UNLISTEN");
    }
    Answer declare(Words& words) {
        const std::string name = words.take();
        if (cursors_.contains(name)) return {};
        cursors_[name] = cursors_born_++;
        return done("DECLARE CURSOR");
    }
    Answer close(Words& words) {
        if (words.accept("all")) {
            cursors_.clear();
            return done("CLOSE CURSOR ALL");
        }
        if (cursors_.erase(words.take()) == 0) return {};
        return done("CLOSE CURSOR");
    }
    Answer prepare(Words& words) {
        if (!prepared_.insert(words.take()).second) return {};
        return done("PREPARE");
    }
    Answer deallocate(Words& words) {
        if (words.accept("all")) {
            prepared_.clear();
            return done("DEALLOCATE ALL");
        }
        if (prepared_.erase(words.take()) == 0) return {};
        return done("DEALLOCATE");
    }
    Answer create(Words& words) {
        if (kind_ == Kind::replica || now_.modes.read_only) return {};
        while (!words.at_end() && !words.accept("as")) words.take();
        now_.temporary = true;
        return done(words.at_end() ? "CREATE TABLE" : "SELECT 1");
    }

    Answer execute(Words& words) {
        if (words.accept("begin")) return begin(words);
        if (words.accept("commit")) return end(words, true);
        if (words.accept("rollback"))
            return words.accept("to") ? roll_back_to(words.take()) : end(words, false);
        if (words.accept("savepoint")) return savepoint(words.take());
        if (words.accept("release")) return release(words.take());
        if (words.accept("set")) return set(words);
        if (words.accept("reset")) return reset(words);
        if (words.accept("select")) return select(words);
        if (words.accept("discard")) return discard(words);
        if (words.accept("listen")) return listen(words, true);
        if (words.accept("unlisten")) return listen(words, false);
        if (words.accept("declare")) return declare(words);
        if (words.accept("close")) return close(words);
        if (words.accept("create")) return create(words);
        if (words.accept("prepare")) return prepare(words);
        if (words.accept("deallocate")) return deallocate(words);
        return {};  // what the server does not know
    }

public:
    void alone(bool is_alone) { is_alone_ = is_alone; }

private:
    Kind kind_;
    Block block_ = Block::none;
    State now_;
    State before_;  // at the beginning of the transaction
    std::vector<Savepoint> savepoints_;
    std::vector<std::pair<bool, std::string>> channel_changes_;
    std::map<std::string, std::uint64_t> cursors_;
    std::uint64_t cursors_born_ = 0;
    std::set<std::string> channels_;
    std::set<std::string> prepared_;  // neither these nor the lock are undone by a rollback
    bool locks_ = false;              // an advisory lock of the session's
    bool is_alone_ = true;            // the statement in its request
    bool used_lent_rights_ = false;
};

std::string printed(const Values& values) {
    std::string text;
    for (const auto& [name, value] : values.session) text += "  " + name + " = " + value + "\n";
    for (const auto& [name, value] : values.local)
        text += "  local " + name + " = " + value.value_or("DEFAULT") + "\n";
    return text;
}

// --- what the client sends ---

class Input {
public:
    Input(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}
    [[nodiscard]] bool at_end() const { return at_ == end_; }
    unsigned byte() { return at_end() ? 0 : *at_++; }
    template <std::size_t size>
    const char* any(const char* const (&choices)[size]) {
        return choices[byte() % size];
    }

private:
    const std::uint8_t* at_;
    const std::uint8_t* end_;
};

struct Sent {
    std::string sql;
    bool is_unparsed = false;    // to pgsteer; the server knows what it is
    bool result_is_seen = true;  // of set_config() with an expression
};

std::string any_setting(Input& in) {
    return in.any({"a.x", "a.y", "work_mem", "search_path", "datestyle", "client_encoding",
                   "pgsteer.consistency", "priv.p", "role", "session_authorization", "a.x",
                   "default_transaction_isolation", "default_transaction_read_only"});
}

std::string any_value(const std::string& name, Input& in) {
    if (name == "search_path") return in.any({"s", "t", "pg_catalog"});
    if (name == "datestyle") return in.any({"sql", "iso", "dmy", "mdy"});
    if (name == "client_encoding") return in.any({"latin1", "utf8"});
    if (name == "pgsteer.consistency") return in.any({"session", "global", "eventual"});
    if (name == "role") return in.any({"admin", "joe", "none"});
    if (name == "session_authorization") return in.any({"admin", "joe"});
    if (name == "default_transaction_isolation")
        return in.any({"repeatable read", "read committed"});
    if (name == "default_transaction_read_only") return in.any({"on", "off"});
    const unsigned choice = in.byte();
    if (choice == 255) return std::string(20'000, 'x');  // more than is remembered of a few
    return choice % 8 == 7 ? "\xc3\xa4" : std::to_string(choice % 8);
}

std::string settings_statement(Input& in) {
    const std::string name = any_setting(in);
    unsigned form = in.byte() % 10;
    // Not covered by SessionState: SET LOCAL of what decides how a SET behind it is understood.
    const bool decides = name == "datestyle" || name == "client_encoding";
    if (decides && (form == 3 || form == 5 || form == 6)) form = 7;
    if (form == 0)
        return "RESET " + (name == "session_authorization" ? "SESSION AUTHORIZATION" : name);
    if (form == 1 && !is_scope(name)) return "SET " + name + " TO DEFAULT";
    const std::string value = "'" + any_value(name, in) + "'";
    const std::string call = "SELECT set_config('" + name + "', ";
    if (form == 2) return call + value + ", false)";
    if (form == 3) return call + value + ", true)";
    if (form == 4) return call + "lower(" + value + "), false)";
    const std::string set = form <= 6 ? "SET LOCAL " : "SET ";
    if (name == "role") return set + "ROLE " + value;
    if (name == "session_authorization") return set + "SESSION AUTHORIZATION " + value;
    return set + name + " = " + value;
}

// What no rollback undoes.
std::string outside_of_transactions(const std::string& name, unsigned what) {
    switch (what % 5) {
        case 0:
            return "SELECT pg_advisory_lock(1)";
        case 1:
            return "SELECT pg_advisory_unlock_all()";
        case 2:
            return "PREPARE" + name + " AS SELECT 1";
        case 3:
            return "DEALLOCATE" + name;
        default:
            return "DEALLOCATE ALL";
    }
}

std::string any_statement(Input& in) {
    const std::string name = std::string{" "} + in.any({"p", "q", "r"});
    const unsigned what = in.byte();
    if (what > 240 && what < 249) return outside_of_transactions(name, what);
    switch (what % 24) {
        case 0:
        case 1:
            return std::string{"BEGIN"} + in.any({"", "", " READ ONLY", " READ WRITE",
                                                  " ISOLATION LEVEL REPEATABLE READ READ ONLY"});
        case 2:
        case 3:
            return std::string{"COMMIT"} + in.any({"", "", " AND CHAIN"});
        case 4:
            return std::string{"ROLLBACK"} + in.any({"", " AND CHAIN"});
        case 5:
        case 6:
            return "SAVEPOINT" + name;
        case 7:
            return "RELEASE" + name;
        case 8:
        case 9:
            return "ROLLBACK TO" + name;
        case 10:
            return "LISTEN" + name;
        case 11:
            return "UNLISTEN" + (in.byte() % 3 == 0 ? " *" : name);
        case 12:
            return "DECLARE" + name + " CURSOR WITH HOLD FOR SELECT 1";
        case 13:
            return "CLOSE" + (in.byte() % 3 == 0 ? " ALL" : name);
        case 14:
            return in.any(
                {"CREATE TEMP TABLE t ()", "CREATE TEMP TABLE t AS SELECT 1", "DISCARD TEMP"});
        case 15:
            return in.any({"DISCARD ALL", "RESET ALL", "RESET ALL"});
        case 16:
            return in.any({"SELECT 1", "SELECT now()", "SELECT fails"});
        case 17:
            return std::string{"SET SESSION CHARACTERISTICS AS TRANSACTION "} +
                   in.any({"READ ONLY", "READ WRITE", "ISOLATION LEVEL REPEATABLE READ"});
        case 18:
            return std::string{"SET TRANSACTION "} + in.any({"READ ONLY", "READ WRITE"});
        default:
            return settings_statement(in);
    }
}

const Statement& classified(const Sent& sent) {
    static std::unordered_map<std::string, Statement> known;
    const std::string text = sent.sql + (sent.is_unparsed ? " of a later version" : "");
    const auto found = known.find(text);
    if (found != known.end()) return found->second;
    return known.emplace(text, classify(text)).first->second;
}

// --- the session ---

class Session {
public:
    explicit Session(Input& in) : in_(in) {}

    // False: the session has come to its end.
    bool step() {
        const unsigned what = in_.byte();
        if (what % 16 == 0) return lose(in_.byte() % 2 == 0 ? Slot::primary : Slot::replica);
        std::vector<Sent> request(what % 4 == 1 ? 1 + in_.byte() % 3 : 1);
        for (Sent& sent : request) {
            sent.sql = any_statement(in_);
            const unsigned how = in_.byte();
            sent.is_unparsed = how % 32 == 31;
            sent.result_is_seen = how % 2 == 0;
        }
        if (answered_here(request)) return true;
        return serve(request, in_.byte() % 2 == 0 ? Slot::replica : Slot::primary);
    }

    // Between requests.
    void check() const {
        require(state_.transaction_status() == reference_.status(), "another transaction status");
        if (state_.transaction_status() != TransactionStatus::idle) {
            if (const auto slot = state_.transaction_on())
                require(state_.irreplaceable(*slot), "an open transaction can be replaced");
            return;
        }
        for (const Slot slot : {Slot::primary, Slot::replica}) check_connection(slot);
        check_what_is_known();
    }

private:
    static Server::Kind kind(Slot slot) {
        return slot == Slot::primary ? Server::Kind::primary : Server::Kind::replica;
    }
    std::optional<Server>& connection(Slot slot) {
        return connections_[static_cast<std::size_t>(slot)];
    }
    [[nodiscard]] const std::optional<Server>& connection(Slot slot) const {
        return connections_[static_cast<std::size_t>(slot)];
    }

    // --- transactions without a server, as proxy/session/transactions.cpp has them ---

    [[nodiscard]] DefaultModes default_modes() const {
        const auto& said = state_.default_modes();
        DefaultModes defaults{{Isolation::read_committed, false}, said.isolation.has_value()};
        defaults.modes.overlay(said);
        return defaults;
    }

    void run_on_reference(const std::string& sql) {
        reference_.run(sql);
        reference_.sync();
    }

    bool answered_here(const std::vector<Sent>& request) {
        if (request.size() != 1 || request.front().is_unparsed) return false;
        const Statement& statement = classified(request.front());
        if (statement.effects.size() != 1) return false;
        const Effect& effect = statement.effects.front();
        if (!change_transaction(effect)) return false;
        history() += "(no server) " + request.front().sql + "\n";
        run_on_reference(request.front().sql);
        return true;
    }

    bool change_transaction(const Effect& effect) {
        switch (effect.kind) {
            case Effect::Kind::begin:
                if (state_.transaction_status() != TransactionStatus::idle || in_.byte() % 4 == 0)
                    return false;
                deferred_.begin(effect, default_modes(), {});
                state_.transaction_waits();
                return true;
            case Effect::Kind::set_transaction:
                if (!deferred_.is_fresh() || effect.form != Effect::Form::modes) return false;
                deferred_.set_modes(effect);
                return true;
            case Effect::Kind::commit:
            case Effect::Kind::rollback:
                if (!deferred_.is_waiting() || !deferred_.is_untouched()) return false;
                if (effect.form == Effect::Form::chain) return true;
                deferred_.clear();
                state_.transaction_dropped();
                return true;
            default:
                return false;
        }
    }

    void leave_replica() {
        history() += "(leaves the replica)\n";
        roll_back(Slot::replica);
        deferred_.wait();
        state_.transaction_waits();
    }
    void roll_back(Slot slot) {
        if (connection(slot)->status() != TransactionStatus::idle)
            connection(slot)->run("ROLLBACK");
        connection(slot)->sync();
    }

    void open_transaction(Slot slot) {
        Server& server = *connection(slot);
        const std::string sql = deferred_.opening(slot == Slot::replica);
        history() += "(opens it) " + sql + "\n";
        for (std::size_t at = 0; at < sql.size();) {
            const auto end = std::min(sql.find("; ", at), sql.size());
            require(server.run(sql.substr(at, end - at)).done || may_be_refused(),
                    "the transaction cannot be opened again", sql);
            at = end + 2;
        }
        server.sync();
        state_.transaction_opened(slot);
        slot == Slot::replica ? deferred_.opened() : deferred_.clear();
        if (!has_lent_rights() && !unknown_to_primary_) check_transaction(slot);
    }

    // It is the one that the client is in.
    void check_transaction(Slot slot) const {
        const Server& server = *connection(slot);
        require(server.status() == TransactionStatus::in_block, "no transaction was opened");
        require(server.modes().isolation == reference_.modes().isolation, "another isolation level",
                server.modes().isolation);
        if (slot == Slot::primary)
            require(server.modes() == reference_.modes(), "other modes of the transaction");
        require_same(server.values(), reference_.values(), slot, "in the transaction");
        const auto& ours = server.savepoints();
        const auto& theirs = reference_.savepoints();
        require(ours.size() == theirs.size(), "other savepoints");
        for (std::size_t i = 0; i < ours.size(); ++i) {
            require(ours[i].name == theirs[i].name, "another savepoint", ours[i].name);
            require_same(ours[i].state.values, theirs[i].state.values, slot, "at a savepoint");
        }
    }

    // --- where a request runs, as routing/decide.cpp has it ---

    [[nodiscard]] static bool leaves(const std::vector<Sent>& request) {
        for (const Sent& sent : request) {
            const Statement& statement = classified(sent);
            const auto follows = statement.may_follow();
            if (follows == InTransaction::leaves) return true;
            // A read is tied only if the transaction is; other statements are one at a time.
            if (request.size() > 1 && statement.access == Access::write) return true;
        }
        return false;
    }
    [[nodiscard]] static bool ties(const std::vector<Sent>& request) {
        return std::any_of(request.begin(), request.end(), [](const Sent& sent) {
            return classified(sent).may_follow() == InTransaction::ties;
        });
    }
    [[nodiscard]] bool may_follow(const std::vector<Sent>& request) const {
        return !leaves(request) && (!ties(request) || deferred_.is_read_only());
    }

    [[nodiscard]] bool may_run_on_replica(const std::vector<Sent>& request) const {
        const bool begins = classified(request.front()).access == Access::begin ||
                            classified(request.front()).access == Access::begin_read_only;
        for (std::size_t i = 0; i < request.size(); ++i) {
            const Access access = classified(request[i]).access;
            if (i == 0 && begins) continue;
            if (access != Access::session_control && access != Access::read_only) return false;
        }
        return !begins || may_begin_on_replica(classified(request.front()).effects.front());
    }
    [[nodiscard]] static bool may_start_on_replica(Isolation isolation, bool read_only) {
        return isolation != Isolation::serializable &&
               (read_only || isolation == Isolation::read_committed);
    }
    [[nodiscard]] bool may_begin_on_replica(const Effect& begin) const {
        DefaultModes defaults = default_modes();
        const bool is_known = begin.modes.isolation || !defaults.isolation_is_the_sessions;
        defaults.modes.overlay(begin.modes);
        return is_known && begin.modes.read_only != false &&
               may_start_on_replica(*defaults.modes.isolation,
                                    defaults.modes.read_only.value_or(false));
    }

    Slot choose(const std::vector<Sent>& request, Slot wish) {
        if (const auto slot = state_.transaction_on()) {
            const bool may_move =
                deferred_.may_move() && state_.transaction_status() == TransactionStatus::in_block;
            const bool must = deferred_.is_full() || !may_follow(request);
            if (!may_move || (!must && wish == Slot::replica)) return *slot;
            leave_replica();
            return Slot::primary;
        }
        for (const Sent& sent : request)
            if (classified(sent).uses_cursor && state_.cursor_on()) return *state_.cursor_on();
        if (wish == Slot::primary || state_.pin()) return Slot::primary;
        if (deferred_.is_waiting()) {
            const bool may_start =
                !deferred_.says_read_write() && may_follow(request) &&
                may_start_on_replica(deferred_.isolation(), deferred_.is_read_only());
            return may_start ? Slot::replica : Slot::primary;
        }
        return may_run_on_replica(request) ? Slot::replica : Slot::primary;
    }

    // --- requests ---

    // False: a setting was refused there, and the session ends or goes on elsewhere.
    bool apply_settings(Slot slot) {
        if (state_.transaction_on() || !state_.settings_pending(slot)) return true;
        bool done = true;
        for (const auto sql : state_.pending_settings(slot)) {
            history() += "(repeats) " + std::string{sql} + "\n";
            done = connection(slot)->run(std::string{sql}).done && done;
            connection(slot)->sync();
        }
        state_.settings_applied(slot);
        require(!state_.settings_pending(slot), "applied settings are still pending");
        require(done || may_be_refused(), "a setting cannot be repeated");
        return done;
    }

    bool serve(const std::vector<Sent>& request, Slot wish) {
        const Slot slot = choose(request, wish);
        if (!connection(slot)) {
            connection(slot).emplace(kind(slot));
            state_.connected(slot, facts_[static_cast<std::size_t>(slot)]);
        }
        if (!apply_settings(slot)) {
            state_.settings_not_applicable();
            return slot == Slot::replica && !deferred_.is_waiting();
        }
        if (deferred_.is_waiting()) open_transaction(slot);
        bool done = true;
        for (std::size_t i = 0; i < request.size() && done; ++i)
            done = run(slot, request[i], i == 0);
        if (!done) state_.failed();
        end_request(slot, request);
        return true;
    }

    bool run(Slot slot, const Sent& sent, bool is_first) {
        history() += std::string{slot == Slot::primary ? "primary: " : "replica: "} +
                     sent.sql.substr(0, 100) + (sent.is_unparsed ? " (not parsed)" : "");
        Server& server = *connection(slot);
        server.alone(is_first);
        reference_.alone(is_first);
        const Server::Answer answer = server.run(sent.sql);
        history() += answer.done ? "\n" : " fails\n";
        if (!answer.done) {
            reference_.fail();
            return false;
        }
        if (!is_of_one_connection(sent.sql))
            require(reference_.run(sent.sql).tag == answer.tag, "fails on one server alone");
        note_doubts(slot, sent);
        complete(slot, sent, answer.tag);
        return true;
    }

    static bool is_of_one_connection(std::string_view sql) {
        for (const char* verb :
             {"LISTEN", "UNLISTEN", "DECLARE", "CLOSE", "CREATE", "PREPARE", "DEALLOCATE"})
            if (sql.starts_with(verb)) return true;
        return false;
    }

    // As in proxy/session/effects.cpp.
    void complete(Slot slot, const Sent& sent, const std::string& tag) {
        const Statement& statement = classified(sent);
        if (value_is_seen(sent)) {
            Words words{sent.sql};
            while (!words.accept("(")) words.take();
            const std::string name = words.take();
            while (!words.accept("(")) words.take();
            const std::string value = words.take();
            Statement set;
            set.statement_count = 1;
            set.effects.push_back(
                {Effect::Kind::set, 0, name,
                 "SELECT pg_catalog.set_config('" + name + "', '" + value + "', false)",
                 name.starts_with(kOptionPrefix) ? value : ""});
            return note_completed(slot, set, tag);
        }
        note_completed(slot, statement, tag);
    }
    void note_completed(Slot slot, const Statement& statement, const std::string& tag) {
        state_.completed(slot, statement, 0, tag);
        for (const Effect& effect : statement.effects) {
            if (slot != Slot::replica) continue;
            if (deferred_.is_open() && !deferred_.has_ended())
                deferred_.completed(effect);
            else if (effect.kind == Effect::Kind::begin)
                deferred_.begun_on_replica(effect, default_modes());
        }
    }
    static bool value_is_seen(const Sent& sent) {
        const Statement& statement = classified(sent);
        return sent.result_is_seen && !sent.is_unparsed && statement.effects.size() == 1 &&
               statement.effects.front().kind == Effect::Kind::opaque_settings &&
               !statement.effects.front().name.empty();
    }

    void end_request(Slot slot, const std::vector<Sent>& request) {
        connection(slot)->sync();
        reference_.sync();
        const TransactionStatus status = connection(slot)->status();
        require(status == reference_.status(), "ends in another status");
        state_.ready(slot, status);
        if (status == TransactionStatus::idle && deferred_.is_open()) deferred_.clear();
        const bool queries = std::any_of(request.begin(), request.end(), [](const Sent& sent) {
            return classified(sent).may_read();
        });
        if (queries && slot == Slot::replica) deferred_.queried();
        if (ties(request) && slot == Slot::replica) deferred_.tie();
    }

    // --- what the model does not know exactly ---

    // What SessionState is told only that it happened: it may be more careful than it need be.
    void note_doubts(Slot slot, const Sent& sent) {
        if (in_doubt_ && sent.sql.find("priv.") != std::string::npos) rights_are_in_doubt_ = true;
        if (sent.sql == "DISCARD ALL" && !sent.is_unparsed) {
            in_doubt_ = unknown_to_primary_ = false;
            return;
        }
        set_defaults_ = set_defaults_ || sent.is_unparsed;
        bool sets_unseen = sent.is_unparsed || sent.sql.size() > 1000;
        for (const Effect& effect : classified(sent).effects) {
            if (effect.kind == Effect::Kind::opaque_settings && !value_is_seen(sent))
                sets_unseen = true;
            if (effect.kind != Effect::Kind::set_on_primary) continue;
            set_defaults_ = true;
            sets_unseen = sets_unseen || slot == Slot::replica;
        }
        if (!sets_unseen) return;
        in_doubt_ = true;
        // It is set there and nowhere else.
        if (slot == Slot::replica) unknown_to_primary_ = true;
    }

    // Also a RESET by such rights is repeated, even behind DISCARD ALL: refused, it costs offload.
    [[nodiscard]] bool has_lent_rights() const {
        return reference_.used_lent_rights() || rights_are_in_doubt_;
    }

    // Settings made by rights that a setting nobody knows has given.
    [[nodiscard]] bool may_be_refused() const {
        return has_lent_rights() || (in_doubt_ && state_.pin().has_value());
    }

    // --- checks ---

    // default_transaction_* are the primary's own connection's: a replica is told when it opens
    // one.
    static void require_same(const Values& ours,
                             const Values& theirs,
                             Slot slot,
                             const std::string& where,
                             bool is_new = false) {
        const auto relevant = [&](Values values) {
            if (slot == Slot::replica || is_new) {
                const auto is_kept = [](const auto& setting) {
                    return stays_on_primary(setting.first);
                };
                std::erase_if(values.session, is_kept);
                std::erase_if(values.local, is_kept);
            }
            return values;
        };
        require(relevant(ours) == relevant(theirs), "other settings than on one server",
                where + (slot == Slot::primary ? ", primary\n" : ", replica\n") + printed(ours) +
                    "and on one server\n" + printed(theirs));
    }

    // The server as it is once the settings were repeated there. nullopt: it refuses one.
    static std::optional<Server> prepared(Server server, const SessionState& state, Slot slot) {
        for (const auto sql : state.pending_settings(slot)) {
            if (!server.run(std::string{sql}).done) return std::nullopt;
            server.sync();
        }
        return server;
    }

    void check_connection(Slot slot) const {
        if (connection(slot)) check_prepared(slot, *connection(slot), state_, false);
        if (connection(slot) && state_.irreplaceable(slot)) return;
        SessionState afresh = state_;
        ConnectionState facts;
        afresh.disconnected(slot);
        afresh.connected(slot, facts);
        check_prepared(slot, Server{kind(slot)}, afresh, true);
    }

    void check_prepared(Slot slot,
                        const Server& before,
                        const SessionState& state,
                        bool is_new) const {
        const auto server = prepared(before, state, slot);
        require(server || may_be_refused(), "settings cannot be repeated");
        if (!server) return;
        if (server->has_channels() || server->has_cursors() ||
            (slot == Slot::primary && (server->has_temporary() || server->has_locks())))
            require(state.irreplaceable(slot), "what is on one connection only can be replaced");
        if (slot == Slot::primary && server->has_prepared())
            require(state.has_prepared_in_sql(), "a prepared statement is not known");
        if (server->has_temporary())
            require(state.pin().has_value(), "no pin for a temporary table");
        if (slot == Slot::replica && state.pin()) return;  // nothing runs there
        if (slot == Slot::primary && unknown_to_primary_ && state.pin()) return;
        require_same(server->values(), reference_.values(), slot,
                     is_new ? "on a new connection" : "between transactions", is_new);
        if (!in_doubt_ && !is_new) check_exactly(slot, *server);
    }

    // No more care than is due.
    void check_exactly(Slot slot, const Server& server) const {
        const bool is_due = server.has_channels() || server.has_cursors() ||
                            server.has_temporary() || (slot == Slot::primary && server.has_locks());
        require(state_.irreplaceable(slot) == is_due, "more is kept than is there");
        if (slot != Slot::primary || has_lent_rights()) return;
        require(state_.pin().has_value() == server.has_temporary(), "a pin for nothing");
    }

    void check_what_is_known() const {
        const Values& values = reference_.values();
        const auto value = [&](const std::string& name) { return values.effective(name); };
        using Path = SessionState::SearchPathSetting;
        const Path& path = state_.search_path();
        const bool counts = !state_.pin();  // else all runs on the primary, whatever it means there
        if (counts && path.kind == Path::Kind::value)
            require(parse_search_path(value("search_path").value_or(""), "u") ==
                        parse_search_path(path.value, "u"),
                    "another search_path", path.value);
        if (counts && path.kind == Path::Kind::session_default)
            require(!value("search_path"), "not the default search_path");
        if (in_doubt_) return;
        const auto level = value("default_transaction_isolation");
        require(
            state_.default_modes().isolation == (level ? parse_isolation(*level) : std::nullopt),
            "another default isolation level", level.value_or("-"));
        const auto read_only = value("default_transaction_read_only");
        require(state_.default_modes().read_only ==
                    (read_only ? std::optional{*read_only == "on"} : std::nullopt),
                "another default_transaction_read_only", read_only.value_or("-"));
        const auto wish = value("pgsteer.consistency");
        require(
            state_.read_options().consistency == (wish ? parse_consistency(*wish) : std::nullopt),
            "another consistency", wish.value_or("-"));
    }

    // --- lost connections, as in proxy/session/recovery.cpp ---

    bool lose(Slot slot) {
        if (!connection(slot)) return true;
        history() += slot == Slot::primary ? "(the primary is lost)\n" : "(the replica is lost)\n";
        if (slot == Slot::replica && deferred_.may_move() &&
            state_.transaction_status() == TransactionStatus::in_block) {
            deferred_.wait();
            state_.transaction_waits();
        }
        const bool in_transaction = state_.transaction_on() == slot;
        const bool ends_session =
            state_.irreplaceable(slot) &&
            (!in_transaction || slot == Slot::primary || state_.cursor_on() == slot);
        connection(slot).reset();
        state_.disconnected(slot);
        if (in_transaction) {
            deferred_.clear();
            run_on_reference("ROLLBACK");
        }
        // SET default_transaction_... is not repeated on a new connection to the primary.
        return !ends_session && !(slot == Slot::primary && set_defaults_);
    }
    Input& in_;
    SessionState state_;
    DeferredTransaction deferred_;
    std::array<ConnectionState, 2> facts_;  // of connections_
    std::array<std::optional<Server>, 2> connections_;
    Server reference_{Server::Kind::reference};
    bool set_defaults_ = false;
    bool in_doubt_ = false;
    bool unknown_to_primary_ = false;
    bool rights_are_in_doubt_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    history().clear();
    Input in{data, size};
    Session session{in};
    for (std::size_t i = 0; i < kMaxSteps && !in.at_end(); ++i) {
        if (!session.step()) return 0;
        session.check();
    }
    return 0;
}
