// What an open request has been given by Executes with a limit of rows: only what can be fetched
// again in the same way may go on elsewhere. Pure.
#pragma once

#include "proxy/wire/bytes.hpp"

#include <cstdint>
#include <utility>
#include <vector>

namespace pgsteer::proxy {

// The answer to one Execute with a limit.
struct FetchedRows {
    std::uint64_t digest = 0;  // of its rows, in their order
    bool suspended = false;    // there are more
    friend bool operator==(const FetchedRows&, const FetchedRows&) = default;
};

// Told of the answers in their order. Worker-local.
class Fetches {
public:
    // Of the bodies of DataRow, which tell their own lengths, in any pieces: FNV-1a.
    void bytes(wire::Bytes piece) {
        for (const auto byte : piece) digest_ = (digest_ ^ byte) * 0x100000001b3u;
    }
    void executed(bool suspended) {
        (repeats_ ? repeated_ : first_).push_back({std::exchange(digest_, kNoBytes), suspended});
    }
    // By the client, oldest first.
    [[nodiscard]] const std::vector<FetchedRows>& all() const { return first_; }

    // What is told from here on answers the same Executes, sent once more, ...
    void repeat(std::vector<FetchedRows> expected) {
        expected_ = std::move(expected);
        repeated_.clear();
        repeats_ = true;
    }
    // ... up to here. False: the answers are others.
    [[nodiscard]] bool end_of_repetition() {
        repeats_ = false;
        return repeated_ == expected_;
    }

private:
    static constexpr std::uint64_t kNoBytes = 0xcbf29ce484222325u;

    std::uint64_t digest_ = kNoBytes;  // of the answer under way
    std::vector<FetchedRows> first_;
    std::vector<FetchedRows> expected_;
    std::vector<FetchedRows> repeated_;
    bool repeats_ = false;
};

}  // namespace pgsteer::proxy
