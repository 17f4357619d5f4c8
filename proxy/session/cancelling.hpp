// The client wants to have its oldest request cancelled.
#pragma once

#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/sides.hpp"
#include "proxy/session/who.hpp"

namespace pgsteer::proxy {

// Worker-local.
class Cancelling {
public:
    Cancelling(const Lodging& lodging, Who& who, Course& course, Sides& sides)
        : lodging_{lodging}, who_{who}, course_{course}, sides_{sides} {}
    Cancelling(const Cancelling&) = delete;
    Cancelling& operator=(const Cancelling&) = delete;

    // A CancelRequest with the number of this session.
    void requested(std::uint32_t secret_key);
    // Passes on what was asked, once the client's own message is being answered: what we have sent
    // in front of it is not to be hit, unless the client's batch waits for it.
    void pass_on_if_asked() {
        if (course_.cancel == Cancel::asked) pass_on();
    }

private:
    void pass_on();
    void end_questions();

    // All of them outlive it.
    const Lodging& lodging_;
    Who& who_;
    Course& course_;
    Sides& sides_;
};

}  // namespace pgsteer::proxy
