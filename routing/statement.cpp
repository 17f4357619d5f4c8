#include "routing/statement.hpp"

#include "routing/statement_cache.hpp"

namespace pgsteer::routing {
namespace {

// What a string needs beyond its own object.
std::size_t heap_bytes(const std::string& text) {
    return text.capacity() < sizeof(std::string) / 2 ? 0 : text.capacity() + 1;
}

}  // namespace

std::size_t Statement::memory_bytes() const {
    std::size_t bytes = sizeof(Statement) + heap_bytes(detail) + heap_bytes(executes) +
                        uses.heap_bytes() + written.heap_bytes() + effects.capacity() * sizeof(Effect);
    for (const auto& name : names_used) bytes += sizeof(std::string) + heap_bytes(name);
    for (const Effect& effect : effects)
        bytes += heap_bytes(effect.name) + heap_bytes(effect.sql) + heap_bytes(effect.value);
    if (prepares)
        bytes += sizeof(CachedStatement) - sizeof(Statement) + prepares->statement.memory_bytes();
    return bytes;
}

}  // namespace pgsteer::routing
