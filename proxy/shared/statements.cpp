#include "proxy/shared/statements.hpp"

#include <string>

namespace pgsteer::proxy {

Statements::Statements(routing::HashSecret secret,
                       std::size_t cache_bytes,
                       std::size_t context_bytes)
    : cache_{cache_bytes, secret}, contexts_{context_bytes} {}

// Numbers are not used again, so forgetting them costs a new verdict and nothing else.
std::uint64_t Statements::context(const routing::CatalogView& view) {
    std::string key;
    if (view.catalog != nullptr) {
        key = std::to_string(view.catalog->epoch());
        key.push_back(view.may_be_serializable ? 's' : '-');
        key.push_back(view.search_path.is_known ? 'k' : '-');
        for (const auto& schema : view.search_path.schemas) key.append(schema).push_back('\0');
    }
    if (const auto* known = contexts_.find(key)) return *known;
    contexts_.put(key, ++last_context_, 0);
    return last_context_;
}

void Statements::count(health::WorkerCounters& counters) {
    const auto& now = cache_.counters();
    counters.cache_hits.add(now.hits - counted_.hits);
    counters.cache_misses.add(now.misses - counted_.misses);
    counters.cache_evictions.add(now.evictions - counted_.evictions);
    counters.cache_bytes.add(now.bytes - counted_.bytes);  // modulo 2^64: it shrinks, too
    counted_ = now;
}

}  // namespace pgsteer::proxy
