/* Outcomes: one list makes the codes, their names and their texts. Values are only appended. */
#ifndef CAIRN_STATUS_H
#define CAIRN_STATUS_H

#define CAIRN_STATUS_LIST(X)                                                                                           \
    X(OK, "success")                                                                                                   \
    X(E_INVALID, "wrong argument")                                                                                     \
    X(E_RANGE, "no such process")                                                                                      \
    X(E_STATE, "this call is not possible now")                                                                        \
    X(E_NOMEM, "out of memory")                                                                                        \
    X(E_TRUNCATED, "the buffer is shorter than the message")                                                           \
    X(E_AGAIN, "nothing there yet")                                                                                    \
    X(E_TIMEOUT, "waited past the deadline")                                                                           \
    X(E_PEER, "another process failed")                                                                                \
    X(E_MPI, "MPI reported an error")                                                                                  \
    X(E_IO, "input or output failed")                                                                                  \
    X(E_FULL, "no space is left")                                                                                      \
    X(E_ACCESS, "permission denied")                                                                                   \
    X(E_NOT_FOUND, "not found")                                                                                        \
    X(E_CORRUPT, "damaged data")                                                                                       \
    X(E_VERSION, "an unknown format version")                                                                          \
    X(E_MISMATCH, "does not fit this run")                                                                             \
    X(E_STOPPED, "stopped on request after a last snapshot")                                                           \
    X(E_BUG, "internal error: no status was set")                                                                      \
    X(E_BUSY, "too much is under way: try again")                                                                      \
    X(E_ROLLBACK, "all go back to a snapshot: call cairn_recover")

typedef enum cairn_status {
#define CAIRN_STATUS_ENUM(name, text) CAIRN_##name,
    CAIRN_STATUS_LIST(CAIRN_STATUS_ENUM)
#undef CAIRN_STATUS_ENUM
} cairn_status;

#if defined(__GNUC__)
#define CAIRN_MUST_CHECK                  __attribute__((warn_unused_result))
#define CAIRN_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#else
#define CAIRN_MUST_CHECK
#define CAIRN_PRINTF(format_at, first_at)
#endif

/* A status with its story: "snapshots/000007/process-000002.h5: checksum does not match". */
typedef struct cairn_error {
    cairn_status status;
    char text[500];
} cairn_error;

/* A short text for a status; never NULL. */
const char *cairn_status_text(cairn_status status);

/* Set *error (which may be NULL) and return status. */
cairn_status cairn_fail(cairn_error *error, cairn_status status, const char *format, ...) CAIRN_PRINTF(3, 4);

/* Put "prefix: " before the text of *error (which may be NULL) and return its status, or
 * `status` when error is NULL. */
cairn_status cairn_wrap(cairn_error *error, cairn_status status, const char *format, ...) CAIRN_PRINTF(3, 4);

/* Exit codes of the cairn command and of jobs (cairn_exit_code maps a status to one). */
enum {
    CAIRN_EXIT_OK = 0,
    CAIRN_EXIT_FAILURE = 1,
    CAIRN_EXIT_USAGE = 2,         /* the cairn command was called wrongly */
    CAIRN_EXIT_JOB_USAGE = 3,     /* a job was called wrongly or its input is bad: never restarted */
    CAIRN_EXIT_DAMAGED = 65,      /* cairn verify found damage */
    CAIRN_EXIT_NO_SNAPSHOT = 66,  /* snapshots exist but none of them can be used */
    CAIRN_EXIT_GAVE_UP = 69,      /* still failing after the allowed number of restarts; kv: no job is running */
    CAIRN_EXIT_CANNOT_WRITE = 73, /* DIR cannot be made or written, or is full */
    CAIRN_EXIT_IO = 74,           /* reading or writing failed */
    CAIRN_EXIT_AGAIN = 75,        /* a peer was lost, a deadline passed, or too busy: once more may help */
    CAIRN_EXIT_STOPPED = 85       /* stopped on request; run the same command to go on */
};

int cairn_exit_code(cairn_status status);

#endif
