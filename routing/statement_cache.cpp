#include "routing/statement_cache.hpp"

#include <deque>
#include <unordered_map>

namespace pgsteer::routing {
namespace {

struct KeyHash {
    std::size_t operator()(const StatementKey& key) const { return key.high; }  // is a hash already
};

struct Entry {
    StatementPtr statement;
    std::size_t bytes = 0;
    bool used = false;  // since the hand last came by
};

// The map's node, the queue's slot and the shared_ptr's control block.
constexpr std::size_t kEntryOverhead = sizeof(Entry) + sizeof(CachedStatement) - sizeof(Statement) +
                                       2 * sizeof(StatementKey) + 8 * sizeof(void*) +
                                       sizeof(TimePoint);

}  // namespace

// Second chance: what was used since it was last looked at goes to the back of the queue instead.
struct StatementCache::Impl {
    std::size_t max_bytes;
    HashSecret secret;
    std::unordered_map<StatementKey, Entry, KeyHash> entries;
    std::deque<StatementKey> queue;
    Counters counters;

    void make_room(std::size_t bytes) {
        while (!queue.empty() && counters.bytes + bytes > max_bytes) {
            const StatementKey oldest = queue.front();
            queue.pop_front();
            const auto found = entries.find(oldest);
            if (found->second.used) {
                found->second.used = false;
                queue.push_back(oldest);
                continue;
            }
            counters.bytes -= found->second.bytes;
            ++counters.evictions;
            entries.erase(found);
        }
    }

    void insert(const StatementKey& key, const StatementPtr& statement) {
        std::size_t bytes = statement->statement.memory_bytes() + kEntryOverhead;
        // Its verdicts may have to be statements of their own.
        const auto& said = statement->statement;
        if (said.may_read() && (said.access == Access::write || said.hint != Hint::none))
            bytes += statement->judged.size() * (sizeof(CachedStatement) + 2 * sizeof(void*));
        if (bytes > max_bytes) return;
        make_room(bytes);
        entries.emplace(key, Entry{statement, bytes, false});
        queue.push_back(key);
        counters.bytes += bytes;
    }
};

StatementCache::StatementCache(std::size_t max_bytes, HashSecret secret)
    : impl_(std::make_unique<Impl>(Impl{max_bytes, secret, {}, {}, {}})) {}

StatementCache::~StatementCache() = default;

StatementPtr StatementCache::find_or_classify(std::string_view sql) {
    Impl& impl = *impl_;
    const bool cacheable = sql.size() <= kMaxClassifiedBytes;
    StatementKey key;
    if (cacheable) {
        key = lex(sql, impl.secret).key;
        if (const auto found = impl.entries.find(key); found != impl.entries.end()) {
            ++impl.counters.hits;
            found->second.used = true;
            return found->second.statement;
        }
    }
    ++impl.counters.misses;
    auto statement = std::make_shared<const CachedStatement>(CachedStatement{classify(sql), key});
    if (cacheable) impl.insert(key, statement);
    impl.counters.entries = impl.entries.size();
    return statement;
}

const StatementCache::Counters& StatementCache::counters() const { return impl_->counters; }

StatementPtr JudgedStatements::get(const Verdict& verdict) {
    auto& known = by_reason_[static_cast<std::size_t>(verdict.reason)];
    if (!known) {
        auto made = std::make_shared<CachedStatement>();
        made->statement.access = verdict.access;
        made->statement.reason = verdict.reason;
        known = std::move(made);
    }
    return known;
}

namespace {

// With a hint it may run on a replica all the same, and then learns of repeated errors: its own.
StatementPtr refused(const CachedStatement& original, Verdict verdict, JudgedStatements& shared) {
    const Statement& statement = original.statement;
    if (statement.hint == Hint::none) return shared.get(verdict);
    auto made = std::make_shared<CachedStatement>();
    made->statement.access = verdict.access;
    made->statement.reason = verdict.reason;
    made->statement.hint = statement.hint;
    made->key = original.key;
    return made;
}

// A read of which nothing but a catalog says so. Its effects are those of the original.
StatementPtr allowed(const CachedStatement& original, const Verdict& verdict) {
    auto made = std::make_shared<CachedStatement>();
    made->statement = original.statement;
    made->key = original.key;
    made->statement.uses = {};
    made->statement.access = verdict.access;
    made->statement.reason = verdict.reason;
    made->statement.detail.clear();
    return made;
}

bool may_keep_by_writing(const Statement& said, const CatalogView& view) {
    return !said.written.empty() && view.catalog != nullptr && view.catalog->writes_keep();
}

}  // namespace

StatementPtr judge(const StatementPtr& statement,
                   std::uint64_t context,
                   const CatalogView& view,
                   JudgedStatements& shared,
                   std::shared_ptr<const Kept>* kept) {
    const Statement& said = statement->statement;
    if (!said.may_read() && said.uses.empty() && !may_keep_by_writing(said, view)) return statement;
    const auto answer = [&](const Judged& known) {
        if (known.kept && kept != nullptr && (!*kept || (*kept)->what < known.kept->what))
            *kept = known.kept;
        return known.as ? known.as : statement;
    };
    for (const Judged& known : statement->judged)
        if (known.context == context) return answer(known);
    Judged& entry = statement->judged[statement->next_judged];
    statement->next_judged =
        static_cast<std::uint8_t>((statement->next_judged + 1U) % statement->judged.size());
    entry = {context, nullptr, nullptr};
    if (Kept found = find_kept(said, view); found.what != Kept::What::nothing)
        entry.kept = std::make_shared<const Kept>(std::move(found));
    if (!said.may_read()) return answer(entry);
    Verdict judged = verdict(said, view);
    if (judged.access == Access::write)
        entry.as = refused(*statement, std::move(judged), shared);
    else if (said.access != judged.access)
        entry.as = allowed(*statement, judged);
    return answer(entry);
}

}  // namespace pgsteer::routing
