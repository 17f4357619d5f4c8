// Positions that are asked for: where the primary's WAL ends, behind what was written there; how
// far a replica has replayed, right before a read.
#pragma once

#include "proxy/session/batch_facts.hpp"
#include "proxy/session/client.hpp"
#include "proxy/session/course.hpp"
#include "proxy/session/lodging.hpp"
#include "proxy/session/memory.hpp"
#include "proxy/session/sides.hpp"

namespace pgsteer::proxy {

// Puts the questions among what is sent, and takes the answers. Worker-local.
class Questions {
public:
    Questions(const Lodging& lodging, Client& client, Course& course, Memory& memory, Sides& sides)
        : lodging_{lodging}, client_{client}, course_{course}, memory_{memory}, sides_{sides} {}
    Questions(const Questions&) = delete;
    Questions& operator=(const Questions&) = delete;

    // --- to a replica ---

    // Appends to `out` the question that Request::needed asks for; its answer decides about the
    // read behind it.
    void add_verification(wire::Buffer& out);

    // --- to the primary ---

    // Appends the question behind `request`, the only one in flight, unless a transaction is or may
    // be open then, or nobody would want to know.
    void add_sample(const BatchFacts& facts, const Request& request, wire::Buffer& out);
    // No replica can have what the primary has not flushed: makes it flush what was written in
    // vain, if that is wanted and nothing is in flight there.
    void flush_if_due();
    // The oldest request is being acknowledged, at least in part: others may not miss what it has
    // committed. `status`: of the transaction in which it ran.
    void note_written(routing::Slot slot, routing::TransactionStatus status);

    // --- answers ---

    // A row that answers a message of ours.
    void note_position(routing::Slot slot, wire::Bytes row);
    // ReadyForQuery behind it. run_again: the replica has not got far enough.
    [[nodiscard]] Verdict on_position_told(Purpose purpose);
    // An error has come before them: what was asked behind it will not be answered.
    void skipped(routing::Slot slot, Purpose purpose);

private:
    [[nodiscard]] bool may_flush() const;
    [[nodiscard]] bool ends_outside_transaction(const BatchFacts& facts) const;
    void asked(routing::TimePoint at);
    [[nodiscard]] Verdict sample_told();
    [[nodiscard]] Verdict verification_told();

    // All of them outlive it.
    const Lodging& lodging_;
    Client& client_;
    Course& course_;
    Memory& memory_;
    Sides& sides_;
};

}  // namespace pgsteer::proxy
