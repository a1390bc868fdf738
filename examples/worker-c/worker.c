/* A worker in C: reads a channel of GRAY8 pictures with valkkashmsrc and appsink, and answers each frame with its mean brightness.
 *
 *     cc -o worker worker.c $(pkg-config --cflags --libs gstreamer-app-1.0)
 *     ./worker CHANNEL
 */

#include <gst/app/gstappsink.h>
#include <gst/gst.h>
#include <stdlib.h>

/* The frame is looked at where the writer made it: mapping it copies nothing. */
static gboolean
mean_brightness (GstBuffer * buffer, gdouble * mean)
{
  GstMapInfo map;
  guint64 sum = 0;

  if (!gst_buffer_map (buffer, &map, GST_MAP_READ))
    return FALSE;
  for (gsize i = 0; i < map.size; i++)
    sum += map.data[i];
  *mean = map.size > 0 ? (gdouble) sum / map.size : 0;
  gst_buffer_unmap (buffer, &map);
  return TRUE;
}

/* generation and seq say which frame the answer is about. */
static void
answer (GstElement * source, GstBuffer * buffer, gdouble mean)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, "valkka-frame");
  GstStructure *frame, *reply;
  guint64 generation = 0, seq = 0;

  /* An element that makes new buffers may have lost it. */
  if (!meta)
    return;
  frame = gst_custom_meta_get_structure (meta);
  gst_structure_get_uint64 (frame, "generation", &generation);
  gst_structure_get_uint64 (frame, "seq", &seq);
  reply = gst_structure_new ("valkka-reply", "generation", G_TYPE_UINT64, generation, "seq", G_TYPE_UINT64, seq,
      "brightness", G_TYPE_DOUBLE, mean, NULL);
  gst_element_send_event (source, gst_event_new_custom (GST_EVENT_CUSTOM_UPSTREAM, reply));
  g_print ("frame %" G_GUINT64_FORMAT ": brightness %.0f\n", seq, mean);
}

/* In the thread of whoever complains: nobody else looks at the bus. */
static GstBusSyncReply
on_message (GstBus * bus, GstMessage * message, gpointer unused)
{
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    GError *error = NULL;

    gst_message_parse_error (message, &error, NULL);
    g_printerr ("%s\n", error->message);
    exit (1);
  }
  gst_message_unref (message);
  return GST_BUS_DROP;
}

int
main (int argc, char **argv)
{
  GstElement *pipeline, *source, *sink;
  GstSample *sample;
  GstBus *bus;

  gst_init (&argc, &argv);
  if (argc != 2)
    g_error ("usage: worker CHANNEL");
  pipeline = gst_parse_launch ("valkkashmsrc name=source ! video/x-raw,format=GRAY8 "
      "! appsink name=sink sync=false max-buffers=1 drop=true", NULL);
  if (!pipeline)
    g_error ("valkkashmsrc is not found: GST_PLUGIN_PATH says where it is");
  source = gst_bin_get_by_name (GST_BIN (pipeline), "source");
  sink = gst_bin_get_by_name (GST_BIN (pipeline), "sink");
  g_object_set (source, "channel", argv[1], NULL);
  bus = gst_element_get_bus (pipeline);
  gst_bus_set_sync_handler (bus, on_message, NULL, NULL);
  gst_object_unref (bus);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);

  /* NULL: the stream has ended. */
  while ((sample = gst_app_sink_pull_sample (GST_APP_SINK (sink)))) {
    gdouble mean;

    if (mean_brightness (gst_sample_get_buffer (sample), &mean))
      answer (source, gst_sample_get_buffer (sample), mean);
    /* The frame goes back to the writer. */
    gst_sample_unref (sample);
  }

  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (source);
  gst_object_unref (sink);
  gst_object_unref (pipeline);
  return 0;
}
