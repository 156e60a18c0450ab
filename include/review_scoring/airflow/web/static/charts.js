// Draws each table with data-chart into the canvas of its figure, from the data- attributes of its cells alone.
"use strict";
(() => {
  const KNOWN = { neg: "--neg", neu: "--neu", pos: "--pos" };
  const OTHERS = ["--c1", "--c2", "--c3", "--c4"];
  const POINTS = ["points", "reliability"];
  const LINES = ["control", "line"];
  const drawn = [];

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const plain = new Intl.NumberFormat("en", { maximumFractionDigits: 3 });
  const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
  const utcDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

  function form(value, kind) {
    if (value === null || value === undefined) return "–";
    if (kind === "percent") return `${(100 * value).toFixed(1)} %`;
    if (kind === "score") return value.toFixed(3);
    return value.toLocaleString("en", { maximumFractionDigits: 1 });
  }

  function read(table) {
    const heads = [...table.tHead.rows[0].cells].slice(1);
    const rows = [...table.tBodies[0].rows];
    const names = rows.map((row) => {
      const time = row.cells[0].querySelector("time");
      const zone = time && "day" in time.dataset ? utcDay : day;
      return time ? { short: zone.format(new Date(time.dateTime)), long: time.textContent } :
        { short: row.cells[0].textContent.trim(), long: row.cells[0].textContent.trim() };
    });
    const series = heads.map((head, column) => ({
      name: head.textContent.trim(),
      role: head.dataset.role,
      form: head.dataset.form,
      legend: head.dataset.legend ?? head.textContent.trim(),
      values: rows.map((row) => {
        const value = row.cells[column + 1].dataset.value;
        return value === "" ? null : Number(value);
      }),
    }));
    return { names, series, unusual: rows.map((row) => "unusual" in row.dataset), diagonal: table.dataset.diagonal };
  }

  function colour(name, n) {
    return css(KNOWN[name] ?? OTHERS[n % OTHERS.length]);
  }

  function datasets(kind, table) {
    const { series, unusual } = table;
    if (POINTS.includes(kind)) {
      const x = series.find((each) => each.role === "x");
      const y = series.find((each) => each.role === "line");
      const curve = {
        label: y.name, legend: y.legend, legendColour: css("--c1"), showLine: kind === "reliability",
        data: x.values.map((value, n) => ({ x: value, y: y.values[n] })),
        borderColor: css("--c1"), backgroundColor: css("--c1"), pointRadius: 6, pointHoverRadius: 7, borderWidth: 2,
      };
      if (!table.diagonal) return [curve];
      const diagonal = {
        label: table.diagonal, legend: table.diagonal, legendColour: css("--muted"), showLine: true,
        data: [{ x: 0.5, y: 0.5 }, { x: 1, y: 1 }], pointRadius: 0, pointHitRadius: 0,
        borderColor: css("--muted"), borderDash: [6, 4], borderWidth: 1,
      };
      return [curve, diagonal];
    }
    return series.map((each, n) => {
      if (each.role === "bar") {
        return {
          label: each.name, legend: each.legend, legendColour: colour(each.name, n), data: each.values,
          backgroundColor: colour(each.name, n), borderSkipped: false,
          borderColor: css("--mark"), borderWidth: unusual.map((yes) => (yes ? 2 : 0)), maxBarThickness: 28,
          borderRadius: kind === "bars" ? 3 : 0,
        };
      }
      if (each.role === "line") {
        const mark = css("--mark");
        const plain = css("--c1");
        return {
          type: "line", label: each.name, legend: each.legend, legendColour: plain, data: each.values,
          borderColor: plain, borderWidth: 2, tension: 0, order: 0,
          spanGaps: false, pointRadius: unusual.map((yes) => (yes ? 6 : 3)),
          pointStyle: unusual.map((yes) => (yes ? "rectRot" : "circle")),
          pointBackgroundColor: unusual.map((yes) => (yes ? mark : plain)),
          pointBorderColor: unusual.map((yes) => (yes ? mark : plain)),
        };
      }
      return {
        type: "line", label: each.name, legend: each.legend, legendColour: css("--band"), data: each.values,
        borderWidth: 0, pointRadius: 0, pointHitRadius: 0, order: 1,
        backgroundColor: css("--band"), fill: each.role === "high" ? n - 1 : false, spanGaps: false,
      };
    });
  }

  function options(kind, table, element) {
    const text = css("--muted");
    const lines = css("--line");
    const first = table.series.find((each) => each.role === "bar" || each.role === "line");
    const shares = kind === "shares";
    const title = (words) => ({ display: Boolean(words), text: words, color: text });
    return {
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      interaction: { mode: POINTS.includes(kind) ? "nearest" : "index", intersect: false },
      plugins: {
        legend: {
          display: shares || Boolean(table.diagonal) || table.series.some((each) => each.role === "high"),
          position: "bottom",
          labels: {
            color: text, boxWidth: 12, boxHeight: 12, filter: (item) => item.text !== "",
            generateLabels: (chart) => Chart.defaults.plugins.legend.labels.generateLabels(chart).map((item) => {
              const { legend, legendColour } = chart.data.datasets[item.datasetIndex];
              return { ...item, text: legend, fillStyle: legendColour, lineWidth: 0, pointStyle: "rect" };
            }),
          },
        },
        names: { texts: table.names.map((name) => name.long) },
        tooltip: {
          callbacks: {
            title: (items) => [table.names[items[0].dataIndex].long],
            label: (item) => `${item.dataset.label}: ${form(item.parsed.y, first.form)}`,
          },
        },
      },
      scales: {
        x: {
          type: POINTS.includes(kind) ? "linear" : "category", beginAtZero: kind === "points", stacked: shares, title: title(element.dataset.xTitle),
          grid: { display: POINTS.includes(kind), color: lines }, border: { color: lines },
          ticks: { color: text, maxRotation: 0, autoSkipPadding: 16,
            ...(POINTS.includes(kind) && { callback: (value) => form(value, table.series[0].form) }) },
        },
        y: {
          stacked: shares, title: title(element.dataset.yTitle), min: shares || kind === "bars" ? 0 : undefined, max: shares ? 1 : undefined,
          grid: { color: lines }, border: { display: false },
          ticks: { color: text, maxTicksLimit: 6, callback: (value) => (first.form === "percent" ? `${plain.format(100 * value)} %` : plain.format(value)) },
        },
      },
    };
  }

  // Draws the names next to the points, on the side that has room.
  const names = {
    id: "names",
    afterDatasetsDraw(chart, _, { texts }) {
      const { ctx, chartArea } = chart;
      ctx.save();
      ctx.font = `12px ${css("--font")}`;
      ctx.fillStyle = css("--ink");
      ctx.textBaseline = "middle";
      chart.getDatasetMeta(0).data.forEach((point, n) => {
        const right = point.x + 12 + ctx.measureText(texts[n]).width < chartArea.right;
        ctx.textAlign = right ? "left" : "right";
        ctx.fillText(texts[n], point.x + (right ? 12 : -12), point.y);
      });
      ctx.restore();
    },
  };

  function draw(element) {
    const canvas = element.closest("figure").querySelector("canvas");
    const kind = element.dataset.chart;
    const table = read(element);
    const chart = new Chart(canvas, {
      type: POINTS.includes(kind) ? "scatter" : LINES.includes(kind) ? "line" : "bar",
      data: { labels: table.names.map((name) => name.short), datasets: datasets(kind, table) },
      options: options(kind, table, element),
      plugins: kind === "points" ? [names] : [],
    });
    drawn.push({ element, chart, kind, table });
  }

  function redraw() {
    for (const each of drawn) {
      each.chart.data.datasets = datasets(each.kind, each.table);
      each.chart.options = options(each.kind, each.table, each.element);
      each.chart.update("none");
    }
  }

  Chart.defaults.font.family = css("--font");
  for (const element of document.querySelectorAll("table[data-chart]")) draw(element);
  document.addEventListener("themechange", redraw);
  window.addEventListener("beforeprint", () => drawn.forEach((each) => each.chart.resize()));
})();
