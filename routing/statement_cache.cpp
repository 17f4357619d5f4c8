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
constexpr std::size_t kEntryOverhead =
    sizeof(Entry) + 2 * sizeof(StatementKey) + 8 * sizeof(void*) + sizeof(TimePoint);

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
        const std::size_t bytes = statement->statement.memory_bytes() + kEntryOverhead;
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
    auto statement =
        std::make_shared<const CachedStatement>(CachedStatement{classify(sql), kNever});
    if (cacheable) impl.insert(key, statement);
    impl.counters.entries = impl.entries.size();
    return statement;
}

const StatementCache::Counters& StatementCache::counters() const { return impl_->counters; }

}  // namespace pgsteer::routing
