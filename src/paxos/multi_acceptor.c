/* The acceptor of Multi-Paxos: one promise for all slots, a vote for each. "Paxos Made Simple", sections 2.2 and 3.
 *
 * What it says to others rests on records: a promise is sent when its record is durable, ACCEPTED when the vote's is. */
#include "paxos/multi_core.h"

/* Phase 0, the pre-vote: would this process promise? It would not while it hears a leader, or is one. */
void mp_on_prevote(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    bool hears =
        core->leader != MP_NOBODY && core->leader != from && core->now < core->leader_heard + core->options.election;
    mp_message *answer;

    if (!mp_votes(core)) {
        return;
    }
    answer = mp_emit(core, out, from, MP_PREVOTED);
    answer->ballot = m->ballot;
    answer->promised = core->promised;
    answer->yes = core->role != MP_LEADING && !hears && m->ballot > core->promised &&
                  (core->now >= core->granted_until || core->leader == from);
}

static void refuse(mp *core, uint32_t from, px_ballot ballot, mp_output *out)
{
    mp_message *answer = mp_emit(core, out, from, MP_REFUSED);

    answer->ballot = ballot;
    answer->promised = core->promised;
    answer->yes = core->role == MP_LEADING || (core->leader != MP_NOBODY && core->leader != from &&
                                               core->now < core->leader_heard + core->options.election);
}

/* Phase 1b. */
void mp_on_prepare(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    if (!mp_votes(core)) {
        return;
    }
    if (!px_may_promise(core->promised, m->ballot) ||
        (m->ballot > core->promised && core->now < core->granted_until && core->leader != from)) {
        refuse(core, from, m->ballot, out);
        return;
    }
    if (m->ballot > core->promised) {
        if (!mp_room_to_record(out)) {
            return;
        }
        mp_follow(core);
        core->leader = MP_NOBODY;
        core->promised = m->ballot;
        mp_record *record = mp_note(core, out, MP_RECORD_PROMISE);
        record->ballot = m->ballot;
        core->promised_record = record->number;
    } else if (core->role == MP_FOLLOWER) {
        mp_set_timeout(core); /* its candidate is still at it */
    }
    core->promise_to = from;
    core->promise_slot = m->slot;
}

/* The votes from promise_slot on, as many as a message holds. */
static void send_promise(mp *core, mp_output *out)
{
    mp_message *m = mp_emit(core, out, core->promise_to, MP_PROMISE);
    uint64_t slot = core->promise_slot;

    m->ballot = core->promised;
    m->slot = slot;
    for (uint32_t i = 0; i < core->options.acceptor_count; i++) {
        m->generations[i] = core->peers[i].admitted_as;
    }
    for (; slot <= core->highest; slot++) {
        const mp_place *place = mp_find(core, slot);

        if (place == NULL && slot <= core->chosen) {
            break; /* the asker is so far behind that this slot is no longer in memory */
        }
        if (place != NULL && place->ballot != PX_NONE &&
            !mp_tell(core, m, place, slot <= core->chosen ? PX_CHOSEN : place->ballot)) {
            break;
        }
    }
    m->to = slot - 1;
    m->more = slot <= core->highest;
    core->promise_to = MP_NOBODY;
}

void mp_vote_for(mp *core, uint64_t slot, px_ballot ballot, const mp_value *value, mp_output *out)
{
    mp_place *place = mp_place_of(core, slot);
    mp_record *record = mp_note(core, out, MP_RECORD_VOTE);
    mp_waiting *waiting = &core->waiting[core->waiting_end++ % (2 * (uint64_t)core->options.window)];

    if (place->slot != slot) {
        memset(place, 0, sizeof *place);
        place->slot = slot;
    }
    mp_put(core, place, ballot, value);
    place->acks = 0;
    place->record = record->number;
    *waiting = (mp_waiting){.slot = slot, .record = record->number};
    record->slot = slot;
    record->ballot = ballot;
    record->value = mp_place_value(core, place);
    mp_note_admit(core, &record->value);
}

static bool may_wait(const mp *core)
{
    return core->waiting_end - core->waiting_first < 2 * (uint64_t)core->options.window;
}

/* Phase 2b. */
void mp_on_accept(mp *core, uint32_t from, const mp_message *m, mp_output *out)
{
    const mp_vote *asked = &m->votes[0];

    if (core->index == MP_NOBODY || m->vote_count != 1 || asked->value.bytes > core->options.value_max) {
        return;
    }
    if (!px_may_accept(core->promised, m->ballot)) {
        refuse(core, from, m->ballot, out);
        return;
    }
    mp_note_leader(core, from, m->ballot);
    if (mp_votes(core) && mp_fits(core, asked->slot) && may_wait(core) && mp_room_to_record(out)) {
        const mp_place *place = mp_find(core, asked->slot);
        bool known = place != NULL && (place->ballot == m->ballot || place->ballot == PX_CHOSEN);

        /* No vote for what is known to be chosen: it might be for something else, of a leader who does not know yet
         * that he is none, and would then be the newest of this slot in memory and log. An echo tells him. */
        if (!known && asked->slot > core->chosen) {
            core->promised = m->ballot;
            mp_vote_for(core, asked->slot, m->ballot, &asked->value, out);
            core->promised_record = core->records; /* a vote's record is one of the promise too */
        } else if (known && place->record <= core->persisted) {
            mp_message *answer = mp_emit(core, out, from, MP_ACCEPTED); /* the first answer was lost */

            answer->ballot = m->ballot;
            answer->slot = answer->to = asked->slot;
        }
    }
    mp_learn_to(core, m->chosen, m->ballot);
}

bool mp_answers_left(const mp *core)
{
    const mp_waiting *first = &core->waiting[core->waiting_first % (2 * (uint64_t)core->options.window)];

    return (core->promise_to != MP_NOBODY && core->promised_record <= core->persisted) ||
           (core->waiting_first < core->waiting_end && first->record <= core->persisted);
}

/* What the records up to `persisted` allow to say: a promise; votes, those of neighbouring slots in one message. */
void mp_answer_durable(mp *core, mp_output *out)
{
    mp_message *run = NULL;

    if (core->promise_to != MP_NOBODY && core->promised_record <= core->persisted && mp_room_to_send(out)) {
        send_promise(core, out);
    }
    while (core->waiting_first < core->waiting_end) {
        const mp_waiting *w = &core->waiting[core->waiting_first % (2 * (uint64_t)core->options.window)];
        mp_place *place = mp_find(core, w->slot);

        if (w->record > core->persisted) {
            break;
        }
        if (place != NULL && place->record == w->record) {
            if (core->role == MP_LEADING) {
                if (place->ballot == core->ballot) {
                    mp_count(core, core->index, place);
                }
            } else if (core->leader != MP_NOBODY && core->promised == core->leads_with &&
                       (place->ballot == core->leads_with || place->ballot == PX_CHOSEN)) {
                if (run == NULL || run->to + 1 != w->slot) {
                    if (!mp_room_to_send(out)) {
                        break;
                    }
                    run = mp_emit(core, out, core->leader, MP_ACCEPTED);
                    run->ballot = core->leads_with;
                    run->slot = w->slot;
                }
                run->to = w->slot;
            }
        }
        core->waiting_first++;
    }
}
