// The end of a request that was answered.
#pragma once

#include "proxy/session/course.hpp"
#include "proxy/session/last_route.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/who.hpp"

#include <optional>

namespace pgsteer::proxy {

// Counts it, and lets it go. Worker-local.
class RequestEnd {
public:
    RequestEnd(
        const Lodging& lodging, Who& who, Course& course, Memory& memory, LastRoute& last_route)
        : lodging_{lodging}, who_{who}, course_{course}, memory_{memory}, last_route_{last_route} {}
    RequestEnd(const RequestEnd&) = delete;
    RequestEnd& operator=(const RequestEnd&) = delete;

    // The oldest request was answered by `slot`, or has failed there as far as it came: there is
    // one, and it is gone behind this. The bytes of its answer are released by Holding.
    void finish_front(routing::Slot slot);

private:
    // All of them outlive it.
    const Lodging& lodging_;
    Who& who_;
    Course& course_;
    Memory& memory_;
    LastRoute& last_route_;

    std::optional<routing::Pin> counted_pin_;
};

}  // namespace pgsteer::proxy
