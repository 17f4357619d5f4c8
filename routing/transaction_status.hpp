#pragma once

#include <cstdint>

namespace pgsteer::routing {

// What a server says of its session's transaction with each ReadyForQuery; the values are the
// protocol's.
enum class TransactionStatus : std::uint8_t {
    idle = 'I',
    in_block = 'T',
    failed = 'E',  // in a block that takes nothing but ROLLBACK [TO]
};

}  // namespace pgsteer::routing
