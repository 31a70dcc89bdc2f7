/* Progress: a bar that is redrawn on a terminal, a line now and then in a log. It is drawn only while the job is not in
 * the middle of a line of its own, and taken away before anything else is written. */
#include "cli/run.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH   24
#define LOG_SECONDS 10.0

void cairn_run_bar_clear(cairn_run *run)
{
    if (run->bar.drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        run->bar.drawn = false;
    }
}

static void time_left(char *text, size_t bytes, double seconds)
{
    if (seconds < 120) {
        (void)snprintf(text, bytes, ", %.0f s left", seconds);
    } else if (seconds < 7200) {
        (void)snprintf(text, bytes, ", %.0f min left", seconds / 60);
    } else {
        (void)snprintf(text, bytes, ", %.1f h left", seconds / 3600);
    }
}

/* The job is as far as the process that reports most. false: nobody says anything yet. */
static bool describe(cairn_run *run, double now, double *fraction, char *text, size_t bytes)
{
    const cairn_run_launch *launch = &run->launch;
    char step_text[40] = "", snapshot_text[40] = "", left[40] = "";
    uint64_t step = UINT64_MAX;

    *fraction = -1;
    for (uint32_t i = 0; i < launch->count; i++) {
        const cairn_beat *beat = &launch->beats[i];
        if (launch->seen[i] && beat->total > 0) {
            *fraction = fmax(*fraction, (double)beat->done / (double)beat->total);
        }
        if (launch->seen[i] && beat->step != UINT64_MAX && (step == UINT64_MAX || beat->step > step)) {
            step = beat->step;
        }
    }
    if (*fraction < 0 && step == UINT64_MAX) {
        return false;
    }
    *fraction = fmin(*fraction, 1);
    if (step != UINT64_MAX) {
        (void)snprintf(step_text, sizeof step_text, ", step %llu", (unsigned long long)step);
    }
    if (run->newest > 0) {
        (void)snprintf(snapshot_text, sizeof snapshot_text, ", snapshot %llu", (unsigned long long)run->newest);
    }
    /* The estimate counts from where this launch went on. */
    if (run->bar.launch != launch->number || run->bar.first_time <= 0) {
        run->bar.launch = launch->number;
        run->bar.first_time = now;
        run->bar.first_fraction = *fraction;
    }
    double gained = *fraction - run->bar.first_fraction, passed = now - run->bar.first_time;
    if (*fraction >= 0 && gained > 0.005 && passed > 1) {
        time_left(left, sizeof left, (1 - *fraction) * passed / gained);
    }
    if (*fraction >= 0) {
        (void)snprintf(text, bytes, "%.0f%%%s%s%s", floor(*fraction * 100), step_text, snapshot_text, left);
    } else {
        (void)snprintf(text, bytes, "%s%s", step_text + 2, snapshot_text);
    }
    return true;
}

void cairn_run_bar_draw(cairn_run *run, double now)
{
    char text[160], filled[BAR_WIDTH + 1];
    double fraction;

    if (run->bar.quiet || run->launch.filter.middle || !describe(run, now, &fraction, text, sizeof text)) {
        return;
    }
    if (run->bar.terminal) {
        int full = (int)(fmax(fraction, 0) * BAR_WIDTH);
        for (int i = 0; i < BAR_WIDTH; i++) {
            filled[i] = i < full ? '#' : '.';
        }
        filled[BAR_WIDTH] = '\0';
        fprintf(stderr, "\r[%s] %s\033[K", filled, text);
        fflush(stderr);
        run->bar.drawn = true;
        return;
    }
    if (run->bar.drawn_at <= 0) {
        run->bar.drawn_at = run->started;
    }
    if (now - run->bar.drawn_at >= LOG_SECONDS && strcmp(text, run->bar.last) != 0) {
        run->bar.drawn_at = now;
        (void)snprintf(run->bar.last, sizeof run->bar.last, "%s", text);
        fprintf(stderr, "cairn: run: %s\n", text);
    }
}
