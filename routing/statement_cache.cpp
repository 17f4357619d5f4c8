#include "routing/statement_cache.hpp"

#include <cstring>
#include <deque>
#include <string>
#include <unordered_map>
#include <utility>

namespace pgsteer::routing {
namespace {

struct KeyHash {
    std::size_t operator()(const StatementKey& key) const { return key.high; }  // is a hash already
};

struct Entry {
    StatementPtr statement;
    std::size_t bytes = 0;
};

// The map's node, the queue's slot and the shared_ptr's control block.
constexpr std::size_t kEntryOverhead = sizeof(Entry) + sizeof(CachedStatement) - sizeof(Statement) +
                                       2 * sizeof(StatementKey) + 8 * sizeof(void*) +
                                       sizeof(TimePoint);

// Drivers that send a text with parameters send it again and again. What has come twice is found by
// comparing it, which takes a tenth of a lex(). A text has one place: it pushes out what is there.
class RecentTexts {
public:
    // Null: it is not there; then put() it.
    const StatementPtr* find(std::string_view sql) {
        if (sql.size() > kMaxBytes) return nullptr;
        hash_ = hash_of(sql);
        const auto& place = places_[hash_ % places_.size()];
        return place.statement && place.text == sql ? &place.statement : nullptr;
    }
    // Of what find() has just been asked for.
    void put(std::string_view sql, const StatementPtr& statement) {
        if (sql.size() > kMaxBytes) return;
        auto& place = places_[hash_ % places_.size()];
        if (place.asked_for == hash_) {
            place.text = sql;
            place.statement = statement;
        }
        place.asked_for = hash_;
    }

private:
    static constexpr std::size_t kMaxBytes = 1024;  // of a text
    struct Place {
        std::uint64_t asked_for = 0;  // the last that was not here
        std::string text;
        StatementPtr statement;
    };

    // Needs no secret: equal hashes cost time, a lex() at the most.
    static std::uint64_t hash_of(std::string_view text) {
        constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;
        std::uint64_t hash = text.size();
        const auto mix = [&](std::size_t at, std::size_t count) {
            std::uint64_t chunk = 0;
            std::memcpy(&chunk, text.data() + at, count);
            hash = (hash ^ chunk) * kOdd;
            hash ^= hash >> 32;
        };
        std::size_t at = 0;
        for (; at + sizeof(hash) <= text.size(); at += sizeof(hash)) mix(at, sizeof(hash));
        if (at < text.size()) mix(at, text.size() - at);
        return hash;
    }

    std::uint64_t hash_ = 0;
    std::array<Place, 256> places_;
};

}  // namespace

// Second chance: what was used since it was last looked at goes to the back of the queue instead.
struct StatementCache::Impl {
    std::size_t max_bytes;
    HashSecret secret;
    std::unordered_map<StatementKey, Entry, KeyHash> entries;
    std::deque<StatementKey> queue;
    RecentTexts recent;
    Counters counters;

    void make_room(std::size_t bytes) {
        while (!queue.empty() && counters.bytes + bytes > max_bytes) {
            const StatementKey oldest = queue.front();
            queue.pop_front();
            const auto found = entries.find(oldest);
            if (std::exchange(found->second.statement->used, false)) {
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
        entries.emplace(key, Entry{statement, bytes});
        queue.push_back(key);
        counters.bytes += bytes;
    }
};

StatementCache::StatementCache(std::size_t max_bytes, HashSecret secret)
    : impl_(std::make_unique<Impl>(Impl{max_bytes, secret, {}, {}, {}, {}})) {}

StatementCache::~StatementCache() = default;

StatementPtr StatementCache::find_or_classify(std::string_view sql) {
    Impl& impl = *impl_;
    const auto hit = [&](const StatementPtr& statement) {
        ++impl.counters.hits;
        statement->used = true;
        return statement;
    };
    if (const auto* const known = impl.recent.find(sql)) return hit(*known);
    const bool cacheable = sql.size() <= kMaxClassifiedBytes;
    StatementKey key;
    if (cacheable) {
        key = lex(sql, impl.secret).key;
        if (const auto found = impl.entries.find(key); found != impl.entries.end()) {
            impl.recent.put(sql, found->second.statement);
            return hit(found->second.statement);
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
