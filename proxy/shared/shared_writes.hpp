// What all sessions of this process have written, as far as a read of any of them may not miss it:
// consistency `global`. Thread-safe, lock-free.
#pragma once

#include "proxy/shared/learnt_positions.hpp"
#include "routing/decide.hpp"

#include <atomic>
#include <chrono>
#include <utility>

namespace pgsteer::proxy {

// A write is told here before its acknowledgement is passed on. Where the primary is asked for its
// position behind the write, a replica that has replayed up to the answer shows it; else only one
// that is known to show all of that time.
class SharedWrites {
public:
    // The position behind an acknowledged write, not yet told. Destroyed untold: it will not come.
    class Awaited {
    public:
        Awaited() = default;
        Awaited(Awaited&& other) noexcept : writes_{std::exchange(other.writes_, nullptr)} {}
        Awaited& operator=(Awaited&& other) noexcept {
            std::swap(writes_, other.writes_);
            return *this;
        }
        ~Awaited() {
            if (writes_ == nullptr) return;
            raise(writes_->unpositioned_, routing::Clock::now());
            writes_->awaited_.fetch_sub(1, std::memory_order_acq_rel);
        }
        [[nodiscard]] explicit operator bool() const { return writes_ != nullptr; }
        void told(const routing::WalPosition& position) {
            if (writes_ == nullptr) return;
            writes_->positions_.learn(kOnly, position.timeline, position.lsn);
            std::exchange(writes_, nullptr)->awaited_.fetch_sub(1, std::memory_order_acq_rel);
        }

    private:
        friend class SharedWrites;
        explicit Awaited(SharedWrites* writes) : writes_{writes} {}
        SharedWrites* writes_ = nullptr;
    };

    void acknowledged(routing::TimePoint at) {  // and no position will come
        raise(unpositioned_, at);
        raise(written_, at);
    }
    // `position` may stand for an earlier write that is awaited before it.
    void acknowledged_before_position(Awaited& position, routing::TimePoint at) {
        if (!position) {
            awaited_.fetch_add(1, std::memory_order_acq_rel);
            position = Awaited{this};
        }
        raise(written_, at);
    }

    // What a read that arrives now may not miss. `timeline`: the primary's.
    [[nodiscard]] routing::WrittenByAll seen(std::uint32_t timeline, routing::TimePoint now) {
        raise(asked_, now);
        routing::WrittenByAll seen;
        const bool all_told = awaited_.load(std::memory_order_acquire) == 0;
        seen.at = time(written_);
        seen.unpositioned = time(unpositioned_);
        if (!all_told || timeline == 0) return seen;
        seen.position = {timeline, positions_.of(kOnly, timeline)};
        if (seen.position.lsn.bytes == 0) seen.position = {};
        return seen;
    }
    // Somebody has asked within the last second: positions are worth what they cost.
    [[nodiscard]] bool is_asked(routing::TimePoint now) const {
        const auto asked = time(asked_);
        return asked != routing::kNever && now - asked < std::chrono::seconds{1};
    }

private:
    using Ticks = std::atomic<routing::TimePoint::rep>;
    static constexpr routing::ServerId kOnly{0};

    static void raise(Ticks& ticks, routing::TimePoint to) {
        const auto next = to.time_since_epoch().count();
        auto known = ticks.load(std::memory_order_relaxed);
        while (known < next &&
               !ticks.compare_exchange_weak(known, next, std::memory_order_acq_rel)) {
        }
    }
    static routing::TimePoint time(const Ticks& ticks) {
        return routing::TimePoint{
            routing::TimePoint::duration{ticks.load(std::memory_order_acquire)}};
    }

    Ticks written_{routing::kNever.time_since_epoch().count()};
    Ticks unpositioned_{routing::kNever.time_since_epoch().count()};
    Ticks asked_{routing::kNever.time_since_epoch().count()};
    std::atomic<int> awaited_{0};
    LearntPositions positions_{1};  // by timeline, instead of an incarnation's number
};

}  // namespace pgsteer::proxy
