/** The mark of the dashboard, a keel under a waterline, as paths of SVG in a box of 24 by 24. */
export const LOGO_PATHS = {
  water: "M2 9.5h20",
  hull: "M4 12.5h16c-.8 4.4-3.6 6.4-6.6 7.1L12 22l-1.4-2.4C7.6 18.9 4.8 16.9 4 12.5Z",
  mast: "M12 9.5v-7l5.5 4.5",
} as const;
