// The process ids that we tell clients: which worker and session they stand for.
#pragma once

#include <cstdint>

namespace pgsteer::proxy {

// A session's number as the process id of a BackendKeyData, and back, so that a CancelRequest finds
// its owner. The ids are spread over 1 to 2^31-1 and differ from process to process: clients make
// names of them that have to be unique on the server (pg_basebackup names its slot after its id).
// Immutable.
class SessionNumbers {
public:
    static constexpr std::uint32_t kWorkerBits = 10;
    static constexpr std::uint32_t kSessionBits = 21;
    static constexpr std::uint32_t kMaxSession = (1U << kSessionBits) - 1;

    struct Owner {
        std::uint32_t worker = 0;
        std::uint32_t session = 0;
        bool operator==(const Owner&) const = default;
    };

    // Another `seed`, other ids for the same sessions.
    explicit SessionNumbers(std::uint64_t seed);

    // One pair in 2^31 has the id 0, which PostgreSQL gives to nobody: take another number then.
    [[nodiscard]] std::uint32_t process_id(Owner owner) const;
    [[nodiscard]] Owner owner(std::uint32_t process_id) const;

private:
    std::uint32_t factor_;   // odd, so that multiplying by it can be undone modulo 2^31
    std::uint32_t inverse_;  // of factor_
    std::uint32_t offset_;
};

}  // namespace pgsteer::proxy
