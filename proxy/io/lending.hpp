// Memory that is needed by one after the other. Pure.
#pragma once

#include <array>
#include <cstddef>

namespace pgsteer::proxy {

// Containers of one kind, whose memory the connections of a thread need in turn, each while
// something is under way: an idle one owns none. To lend and to take back costs a few instructions,
// where an allocation costs a hundred. Never instantiated.
template <class Container>
class Lending {
public:
    // `mine`: empty, without memory. It gets some, if there is any.
    static void lend(Container& mine) {
        auto& kept = of_this_thread();
        if (kept.count > 0) mine.swap(kept.spare[--kept.count]);
    }
    // `mine`: empty. It is without memory then.
    static void take_back(Container& mine) {
        auto& kept = of_this_thread();
        if (kept.count < kMost) {
            mine.swap(kept.spare[kept.count++]);
        } else {
            Container{}.swap(mine);
        }
    }

private:
    static constexpr std::size_t kMost = 64;
    struct Kept {
        std::array<Container, kMost> spare;  // without memory from `count` on
        std::size_t count = 0;
    };
    static Kept& of_this_thread() {
        static thread_local Kept kept;
        return kept;
    }
};

}  // namespace pgsteer::proxy
